"""Who may import whom (docs/architecture.md, section 2), read from the source with `ast`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The longest matching prefix is a module's row; it may import itself, its row, and anything outside the project.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "cardlink": ("cardlink.errors",),
    "cardlink.errors": (),
    "cardlink.language": (),
    "cardlink.iso7816": ("cardlink.errors",),
    "cardlink.piv": ("cardlink.errors", "cardlink.iso7816"),
    "cardlink.gp": ("cardlink.errors", "cardlink.iso7816", "cardlink.piv.tables", "cardlink.piv.pins"),
    "cardlink.access": ("cardlink.errors", "cardlink.iso7816", "cardlink.piv", "cardlink.statements"),
    "cardlink.statements": ("cardlink.errors",),
    "cardlink.check": ("cardlink.errors", "cardlink.piv", "cardlink.statements", "cardlink.iso7816"),
    "cardlink.transport": ("cardlink.errors", "cardlink.iso7816"),
    "cardos": (
        "cardlink.errors",
        "cardlink.language",
        "cardlink.iso7816",
        "cardlink.piv",
        "cardlink.gp",
        "cardlink.access",
        "cardlink.statements",
    ),
    "hsm_sim": ("cardlink.errors", "cardlink.language", "cardlink.gp", "cardlink.iso7816"),
    "issuer": ("cardlink", "hsm_sim.client"),
    "issuer.station": ("cardlink",),
    "reader_daemon": ("cardlink",),
    "web": ("issuer", "cardlink.errors", "cardlink.language", "cardlink.statements"),
    "demo": ("",),
    "bench": ("",),
}
PROJECT = sorted({row.split(".")[0] for row in MAY_IMPORT})
# bench/yubikit_tap.py is a foreign peer: it runs in .venv-foreign, where none of our packages is
PYSCARD = ("cardlink/transport/pcsc.py", "bench/yubikit_tap.py")


def is_within(module: str, prefix: str) -> bool:
    return prefix == "" or module == prefix or module.startswith(prefix + ".")


def module_of(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def row_of(module: str) -> str:
    return max((row for row in MAY_IMPORT if is_within(module, row)), key=len)


def imports_of(path: Path, module: str) -> list[str]:
    """Every module that `path` imports; `from a import b` gives `a.b`, which is within `a` whatever b is."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                stem = package[: len(package) - node.level + 1]
                base = ".".join([*stem, base] if base else stem)
            found += [f"{base}.{alias.name}" for alias in node.names]
    return found


def offences(path: Path, root: Path = ROOT) -> list[str]:
    module = module_of(path, root)
    row = row_of(module)
    allowed = (*MAY_IMPORT[row], row)
    wrong = []
    for name in imports_of(path, module):
        top = name.split(".")[0]
        if top == "smartcard" and path.relative_to(root).as_posix() not in PYSCARD:
            wrong.append(f"{path.relative_to(root)} imports pyscard ({name})")
        if top in PROJECT and not any(is_within(name, one) for one in allowed):
            may = ", ".join(MAY_IMPORT[row]) or "nothing"
            wrong.append(f"{path.relative_to(root)} imports {name}; {row} may import {may}")
    return wrong


def sources() -> list[Path]:
    return sorted(path for top in PROJECT for path in (ROOT / top).rglob("*.py"))


def test_every_module_imports_only_what_the_table_allows() -> None:
    assert not [line for path in sources() for line in offences(path)]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("web/pages.py", "from cardlink.transport import pcsc"),
        ("issuer/cards/plan.py", "import reader_daemon.decide"),
        ("issuer/trust/sim.py", "from hsm_sim import store"),
        ("cardlink/piv/tables.py", "from ..transport import connection"),
        ("cardos/card.py", "from cardlink.transport.pcsc import readers"),
        ("reader_daemon/loop.py", "from smartcard.System import readers"),
        ("issuer/station/agent.py", "from issuer.database import engine"),
    ],
)
def test_a_forbidden_import_is_named_with_its_file(tmp_path: Path, module: str, line: str) -> None:
    path = tmp_path / module
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n", encoding="utf-8")
    (offence,) = offences(path, tmp_path)
    assert module in offence


def test_only_docstrings_stand_in_package_files() -> None:
    for path in sources():
        if path.name == "__init__.py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body), path
