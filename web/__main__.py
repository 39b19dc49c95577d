"""`themo-web serve`: the console and the public page under gunicorn, threads in one process."""

import logging
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import typer
from flask import Flask
from gunicorn.app.base import BaseApplication

from issuer import config as settings
from issuer import database
from issuer.errors import IssuerError
from issuer.messages import catalogue
from issuer.trust.connect import connect
from web.app import create_app
from web.site import Parts

app = typer.Typer(help="Thẻ Mở: trang quản lý và trang kiểm tra thẻ (console and public page).", no_args_is_help=True)


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
    """Thẻ Mở: trang quản lý và trang kiểm tra thẻ."""


@app.command()
def serve(
    config: Path | None = typer.Option(None, "--config", help="Tệp thiết lập TOML (settings)."),
    pin_fd: int | None = typer.Option(None, "--pin-fd", help="Đọc mã PIN của HSM từ descriptor này."),
    threads: int = typer.Option(8, min=1, max=64, help="Số luồng (threads)."),
    lang: str = typer.Option("vi", help="vi | en"),
    verbose: bool = typer.Option(False, "--verbose", "-v"),
) -> None:
    """Serve until ended. The HSM's PIN comes from --pin-fd or hsm.pin_file, never from an argument."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, stream=sys.stderr)
    logging.getLogger("issuer.trust").setLevel(logging.INFO)  # which HSM was opened, and what it leaves to us
    try:
        loaded = settings.load(config, os.environ)
        if pin_fd is not None:
            loaded = replace(loaded, hsm_pin_fd=pin_fd)
        factory = database.session_factory(database.engine(loaded))
        made = create_app(Parts(loaded, factory, connect(loaded), lambda: datetime.now(UTC)))
    except IssuerError as error:
        typer.echo(f"themo-web: error: {catalogue.text(error.code, lang, **error.facts)}", err=True)
        hint = catalogue.hint(error.code, lang, **error.facts)
        if hint:
            typer.echo(f"themo-web: hint: {hint}", err=True)
        raise typer.Exit(2) from error
    Server(made, loaded.web_listen, threads).run()


def main() -> None:
    """The installed command."""
    app()


if __name__ == "__main__":
    main()
