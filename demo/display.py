"""What the demo shows: one line for each thing done, a bar for the whole, a picture of the two faces in words."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.text import Text


class NotAsItShouldBe(Exception):
    """Something the demo shows did not come out as it must; the text says what."""


class Display:
    """Prints in the chosen language. `texts` maps a key to (Vietnamese, English)."""

    def __init__(self, lang: str, texts: dict[str, tuple[str, str]], stages: int) -> None:
        self.lang = lang
        self._index = 0 if lang == "vi" else 1
        self._texts = texts
        self._console = Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else 110)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task("", total=stages)
        self._started = time.monotonic()

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def text(self, key: str, /, **facts: object) -> str:
        """A text in the chosen language."""
        return self._texts[key][self._index].format(**facts)

    def title(self, key: str) -> None:
        """Begin: the name of what follows."""
        self._console.print(Panel(Text(self.text(key), justify="center", style="bold"), border_style="red", width=100))

    @contextmanager
    def stage(self, key: str) -> Iterator[None]:
        """One part of the story, with a heading and the time it took."""
        heading = self.text(key)
        self._progress.update(self._task, description=heading)
        self._console.print(Rule(Text(heading, style="bold"), align="left", style="red"))
        started = time.monotonic()
        yield
        self._progress.advance(self._task)
        self._console.print(Text(f"   {time.monotonic() - started:.1f} s", style="dim"))

    def doing(self, key: str, /, **facts: object) -> None:
        """Say on the moving line what is being done now."""
        self._progress.update(self._task, description=self.text(key, **facts))

    def done(self, key: str, /, **facts: object) -> None:
        """One thing that came out as it should."""
        self._console.print(Text.assemble((" ✓ ", "bold green"), self.text(key, **facts)))

    def refused(self, key: str, /, **facts: object) -> None:
        """One thing that was refused, as it should be."""
        self._console.print(Text.assemble((" ✕ ", "bold yellow"), self.text(key, **facts)))

    def note(self, key: str, /, **facts: object) -> None:
        """An explanation."""
        self._console.print(Text(f"   {self.text(key, **facts)}", style="dim"))

    def lines(self, lines: list[str]) -> None:
        """Somebody else's words, as they came."""
        for line in lines:
            self._console.print(Text(f"   {line}", style="cyan"))

    def command(self, line: str) -> None:
        """A command to copy: never broken into two lines."""
        self._console.print(Text(f"   {line}", style="bold"), soft_wrap=True)

    def closing(self, key: str, /, **facts: object) -> None:
        """The last words."""
        self._progress.stop()
        self._console.print(Panel(Text(self.text(key, **facts)), border_style="green", width=100))

    def failed(self, key: str, /, **facts: object) -> None:
        """The one thing that is wrong."""
        self._progress.stop()
        self._console.print(Panel(Text(self.text(key, **facts)), border_style="bold red", width=100))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started


def expect(is_so: bool, what: str) -> None:
    """Raise NotAsItShouldBe unless it is so."""
    if not is_so:
        raise NotAsItShouldBe(what)
