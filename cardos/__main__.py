"""`cardos`: virtual cards in files and fleets, in and out of a virtual reader, to look at and to read along with.

Exit 0 done, 1 failed, 2 wrong usage.
"""

import logging
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

from cardlink.errors import Malformed
from cardlink.language.catalogue import chosen_language
from cardlink.language.parser import Parser
from cardos import files
from cardos.cli import cards, reading, remote, serve
from cardos.cli.parser import Commands
from cardos.errors import Failed, StoreFailed
from cardos.messages.catalogue import Texts
from cardos.sealing import SUFFIX
from cardos.trace import TRAFFIC


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Vietnamese letters still gets its answer
    arguments = list(sys.argv[1:] if argv is None else argv)
    texts = Texts(chosen_language(arguments))
    options = make_parser(texts).parse_args(arguments)
    level = (logging.WARNING, logging.DEBUG, TRAFFIC)[min(options.verbose, 2)]
    logging.addLevelName(TRAFFIC, "TRAFFIC")
    logging.basicConfig(level=level, stream=sys.stderr)
    try:
        code: int = options.run(options, texts)
        return code
    except Failed as failed:
        why, hint = failed.why(texts), failed.hint_in(texts)
    except FileNotFoundError as error:
        missing = _missing(Path(error.filename))
        why, hint = missing.why(texts), missing.hint_in(texts)
    except FileExistsError as error:
        why, hint = texts("file.exists", path=error.filename), texts("hint.file.exists")
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except UnicodeDecodeError:
        why, hint = texts("file.not-text"), texts("hint.file.not-text")
    except (OSError, StoreFailed) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        told = files.failed(cause) if isinstance(cause, OSError) else Failed("file.failed", why=error)
        why, hint = told.why(texts), told.hint_in(texts)
    except Malformed as error:
        why, hint = str(error), texts("hint.file.failed")
    print(f"cardos: error: {why}", file=sys.stderr)
    if hint is not None:
        print(f"cardos: hint: {hint}", file=sys.stderr)
    return 1


def make_parser(texts: Texts) -> Parser:
    """The grammar of the command line."""
    commands = Commands(texts)
    for part in (cards, serve, remote, reading):
        part.attach(commands)
    return commands.top


def _missing(path: Path) -> Failed:
    """What helps against a file that is not there: its folder, a card to make first, or another name."""
    if not path.parent.is_dir():
        return Failed("file.no-folder", path=path, folder=path.parent)
    is_card = path.suffix == SUFFIX or path.name.endswith(f"{SUFFIX}.key")
    return Failed("file.missing", path=path) if is_card else Failed("file.look", path=path)


if __name__ == "__main__":
    sys.exit(main())
