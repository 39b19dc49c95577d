"""Runs the programs of others and gives back what they said."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOREIGN = ROOT / ".venv-foreign" / "bin"
PKCS11_MODULE = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"
LIMIT_S = 20


def attempt(
    argv: list[str], environ: Mapping[str, str] | None = None, stdin: str | None = None, limit_s: float = LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, however that is."""
    return subprocess.run(argv, env=environ, input=stdin, capture_output=True, text=True, timeout=limit_s, check=False)


def run(argv: list[str], environ: Mapping[str, str] | None = None, stdin: str | None = None) -> str:
    """Run a program that must succeed; answer its standard output."""
    done = attempt(argv, environ, stdin)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout
