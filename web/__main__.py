"""`themo-web serve`: the console and the public page under gunicorn, threads in one process."""

import logging
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from flask import Flask
from gunicorn.app.base import BaseApplication

from cardlink.language.catalogue import Language, chosen_language
from issuer import config as settings
from issuer import database
from issuer.cli import usage
from issuer.trust.connect import connect
from web.app import create_app
from web.site import Parts

app = typer.Typer(help="cli.web.about", no_args_is_help=True, add_completion=False)


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with our settings; keys are opened after the fork, in the worker."""

    def __init__(self, made: Flask, listen: str, threads: int) -> None:
        self._made = made
        self._settings = {
            "bind": listen,
            "workers": 1,  # SQLite has one writer; on PostgreSQL start more of these processes behind a proxy
            "threads": threads,
            "worker_class": "gthread",
            "timeout": 60,
            "graceful_timeout": 5,
            "loglevel": "warning",
            "control_socket_disable": True,
        }
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings."""
        for name, value in self._settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """Give gunicorn the application."""
        return self._made


@app.callback()
def _root() -> None:
    """What stands before every command."""


@app.command(help="cli.web.serve")
def serve(
    config: Annotated[Path | None, typer.Option(help="cli.option.config")] = None,
    pin_fd: Annotated[int | None, typer.Option(help="cli.web.pin_fd")] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="cli.web.threads")] = 8,
    lang: Annotated[Language | None, typer.Option(help="cli.option.lang", envvar="THEMO_LANG")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="cli.web.verbose")] = False,
) -> None:
    """Serve until ended. The HSM's PIN comes from --pin-fd or hsm.pin_file, never from an argument."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, stream=sys.stderr)
    logging.getLogger("issuer.trust").setLevel(logging.INFO)  # which HSM was opened, and what it leaves to us
    loaded = settings.load(config, os.environ)
    if pin_fd is not None:
        loaded = replace(loaded, hsm_pin_fd=pin_fd)
    factory = database.session_factory(database.engine(loaded))
    made = create_app(Parts(loaded, factory, connect(loaded), lambda: datetime.now(UTC)))
    Server(made, loaded.web_listen, threads).run()


def main() -> int:
    """The installed command; answers its exit code."""
    arguments = sys.argv[1:]
    return usage.run("themo-web", app, arguments, chosen_language(arguments, os.environ))


if __name__ == "__main__":
    sys.exit(main())
