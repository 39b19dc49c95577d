"""Starts the installation's processes, hands each its secrets by descriptor, restarts and ends them.

The secrets (the HSM store's secret, the PINs) live in this process's memory and nowhere on disk. A real installation
does otherwise: the shares are entered by their holders at the HSM, and PINs come from the service manager's
credentials.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 30.0
END_TIMEOUT_S = 8.0
FD = "{fd:%s}"


class ProcessFailed(Exception):
    """A process did not become ready or ended by itself; the text names it and its last lines."""


@dataclass(slots=True)
class Program:
    """How to start one process. `{fd:NAME}` in `argv` or `environ` becomes a descriptor to read secret NAME from."""

    name: str
    argv: Sequence[str]
    is_ready: Callable[[], bool]
    environ: Mapping[str, str] = field(default_factory=dict)
    keeps_stdin: bool = False


@dataclass(slots=True)
class Running:
    """A started process and where its output goes."""

    program: Program
    process: subprocess.Popen[bytes]
    output: Path
    restarts: int = 0


def command(name: str) -> str:
    """The installed command of this environment."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or name


class Supervisor:
    """Owns the processes. Use as a context manager: leaving it ends them all, the last started first."""

    def __init__(self, folder: Path, secrets: Mapping[str, bytes], environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._secrets = dict(secrets)
        self._environ = dict(environ)
        self._running: dict[str, Running] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        self.end_all()

    def __repr__(self) -> str:
        return f"Supervisor({', '.join(self._running)})"

    def run(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str] | None = None,
        stdin: str | None = None,
        allowed: tuple[int, ...] = (0,),
    ) -> str:
        """Run a command to its end and return its standard output.

        Raises ProcessFailed with what it wrote to standard error when its exit status is not one of `allowed`.
        """
        full, told, descriptors = self._with_descriptors(argv, {**self._environ, **(environ or {})})
        try:
            done = subprocess.run(
                full,
                env=told,
                pass_fds=descriptors,
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if done.returncode not in allowed:
            raise ProcessFailed(
                f"{' '.join(argv[:4])}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}"
            )
        return done.stdout

    def start(self, program: Program) -> Running:
        """Start a process and wait until it is ready. Raises ProcessFailed."""
        output = self._folder / f"{program.name}.log"
        full, told, descriptors = self._with_descriptors(program.argv, {**self._environ, **program.environ})
        try:
            with output.open("ab") as sink:
                process = subprocess.Popen(
                    full,
                    env=told,
                    pass_fds=descriptors,
                    stdin=subprocess.PIPE if program.keeps_stdin else subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    start_new_session=True,
                )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        running = Running(program, process, output)
        self._running[program.name] = running
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not program.is_ready():
            if process.poll() is not None:
                raise ProcessFailed(f"{program.name} ended with {process.returncode}: {_tail(output)}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{program.name} was not ready after {READY_TIMEOUT_S:.0f} s: {_tail(output)}")
            time.sleep(0.02)
        return running

    def kill(self, name: str) -> None:
        """End a process as a power cut would (SIGKILL), without telling it."""
        running = self._running[name]
        running.process.kill()
        running.process.wait(END_TIMEOUT_S)

    def restart(self, name: str) -> Running:
        """Start a process that ended again, its secrets handed over anew."""
        old = self._running.pop(name)
        if old.process.poll() is None:
            self._end(old)
        fresh = self.start(old.program)
        fresh.restarts = old.restarts + 1
        return fresh

    def descriptor(self, name: str) -> int:
        """A descriptor of this process from which a secret can be read, once."""
        _, _, (descriptor,) = self._with_descriptors([FD % name], {})
        return descriptor

    def again(self, name: str, argv: Sequence[str]) -> None:
        """Say with which arguments a running process is to be started the next time."""
        self._running[name].program.argv = argv

    def stop(self, name: str) -> None:
        """End one process with SIGTERM."""
        self._end(self._running.pop(name))

    def dead(self) -> list[Running]:
        """The processes that ended although nobody asked them to."""
        return [running for running in self._running.values() if running.process.poll() is not None]

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """The process behind a name."""
        return self._running[name].process

    def output(self, name: str) -> Path:
        """The file with everything the process wrote."""
        return self._folder / f"{name}.log"

    def end_all(self) -> None:
        """End every process, the last started first."""
        while self._running:
            _, running = self._running.popitem()
            self._end(running)

    def _end(self, running: Running) -> None:
        process = running.process
        if process.stdin is not None:
            process.stdin.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                log.warning("process did not end when asked name=%s", running.program.name)
                process.kill()
                process.wait(END_TIMEOUT_S)

    def _with_descriptors(
        self, argv: Sequence[str], environ: Mapping[str, str]
    ) -> tuple[list[str], dict[str, str], tuple[int, ...]]:
        """Put a fresh read end of a pipe in place of each `{fd:NAME}` in arguments and environment."""
        full, told, descriptors = list(argv), dict(environ), []

        def opened(secret: bytes) -> str:
            reading, writing = os.pipe()
            os.write(writing, secret)  # a secret is short: it fits into the pipe, nobody has to read yet
            os.close(writing)
            descriptors.append(reading)
            return str(reading)

        for name, secret in self._secrets.items():
            mark = FD % name
            full = [word.replace(mark, opened(secret)) if mark in word else word for word in full]
            told.update({key: value.replace(mark, opened(secret)) for key, value in told.items() if mark in value})
        return full, told, tuple(descriptors)


def _tail(path: Path, characters: int = 1200) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()[-characters:]
