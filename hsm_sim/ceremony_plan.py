"""The plan of a key ceremony (TOML): who takes part, how the store's secret is shared, which keys are made."""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsm_sim.errors import BadRequest
from hsm_sim.keys import STAYING_USES, Kind, Role, Terms, Use
from hsm_sim.people_ops import NAME_CHARS
from hsm_sim.shares import SHARES_MAX

AGENCY_USES = (Use.CARD, Use.IDENTITY, Use.QR, Use.BUNDLE)
INSTALLATION_USES = (Use.STATUS, Use.COMMAND)
SERVICES = (Role.USER, Role.ALLOCATOR)
"""Roles of programs and not of persons: their PINs are drawn and written to files."""
NAMES = {"installation", "agencies", "officers", "auditors", "witnesses"}
SECTIONS = NAMES | {"persons_needed", "exportable", "shares", "roots", "backup"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One key that the ceremony makes. Labels, uses and scopes are those that `issuer keys init` takes over."""

    label: str
    kind: Kind
    use: Use
    scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Keys that are made in one step; `code` and `name` stand in its title."""

    step: str
    code: str
    keys: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A ceremony as it was agreed on beforehand. `digest` is SHA-256 of the file.

    `is_exportable`: its keys, but for roots, may leave later under a key-encryption key.
    """

    installation: str
    agencies: tuple[str, ...]
    officers: tuple[str, ...]
    auditors: tuple[str, ...]
    witnesses: tuple[str, ...]
    holders: tuple[str, ...]
    share_threshold: int
    backup_holders: tuple[str, ...]
    backup_threshold: int
    persons_needed: int
    roots: int
    root_threshold: int
    digest: str
    is_exportable: bool = False

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody who takes part, each once."""
        holders = (*self.holders, *self.backup_holders)
        return tuple(dict.fromkeys((*self.officers, *self.auditors, *holders, *self.witnesses)))

    def terms_of(self, wanted: Wanted) -> Terms:
        """What a key of this plan is bound to."""
        return Terms(is_exportable=self.is_exportable and wanted.use not in STAYING_USES)

    def groups(self) -> tuple[Group, ...]:
        """The steps that make keys, in their order."""
        ec, root = Kind.EC_P256, Use.ROOT
        roots = tuple(Wanted(f"root-{number}", ec, root) for number in range(1, self.roots + 1))
        name, scope = self.installation, (self.installation,)
        whole = (
            *(Wanted(f"{use}-{name}-1", ec, use, scope) for use in INSTALLATION_USES),
            Wanted(f"{Use.AUDIT}-{name}-1", Kind.ED25519, Use.AUDIT, scope),
        )
        return (
            Group("roots", f"{self.root_threshold}/{self.roots}", roots),
            Group("x509-root", self.installation, (Wanted("x509-root-1", ec, root),)),
            Group("card-master", self.installation, (Wanted("card-master-1", Kind.AES_256, Use.CARD_MASTER),)),
            Group("installation", self.installation, whole),
            *(Group(f"agency {code}", code, _of_agency(code)) for code in self.agencies),
        )


def _of_agency(code: str) -> tuple[Wanted, ...]:
    scope = (code,)
    certifying = (("ca", Use.CA), ("content", Use.CONTENT), ("ocsp", Use.OCSP))
    return (
        *(Wanted(f"{use}-{code}-1", Kind.EC_P256, use, scope) for use in AGENCY_USES),
        *(Wanted(f"x509-{name}-{code}-1", Kind.EC_P256, use, scope) for name, use in certifying),
    )


def read_plan(path: Path) -> Plan:
    """Read a plan. Raises BadRequest for one that cannot be carried out, OSError for no file."""
    raw = path.read_bytes()
    try:
        told = tomllib.loads(raw.decode("utf-8"))
        return _plan(told, hashlib.sha256(raw).hexdigest())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadRequest(f"plan {path.name}: {error}", "plan.form") from error


def _plan(told: dict[str, Any], digest: str) -> Plan:
    unknown = told.keys() - SECTIONS
    if unknown:
        raise BadRequest(f"plan: unknown {', '.join(sorted(unknown))}", "plan.form")
    shares, roots = told["shares"], told["roots"]
    copies = told.get("backup", shares)  # nobody else named: the same persons hold both
    plan = Plan(
        installation=_name(told["installation"]),
        agencies=_names(told["agencies"]),
        officers=_names(told["officers"]),
        auditors=_names(told["auditors"]),
        witnesses=_names(told.get("witnesses", [])),
        holders=_names(shares["holders"]),
        share_threshold=int(shares["threshold"]),
        backup_holders=_names(copies["holders"]),
        backup_threshold=int(copies["threshold"]),
        persons_needed=int(told["persons_needed"]),
        roots=int(roots["keys"]),
        root_threshold=int(roots["threshold"]),
        digest=digest,
        is_exportable=told.get("exportable", False) is True,
    )
    if type(told.get("exportable", False)) is not bool:
        raise BadRequest("plan: exportable is true or false", "plan.form")
    if not 1 <= plan.persons_needed <= len(plan.officers):
        raise BadRequest("plan: persons_needed is 1 to the number of officers", "plan.numbers")
    of_store = 2 <= plan.share_threshold <= len(plan.holders) <= SHARES_MAX
    if not of_store or not 2 <= plan.backup_threshold <= len(plan.backup_holders) <= SHARES_MAX:
        raise BadRequest(f"plan: 2 to {SHARES_MAX} holders of shares, and a threshold of at least 2", "plan.numbers")
    if not 1 <= plan.root_threshold <= plan.roots <= SHARES_MAX:
        raise BadRequest("plan: a root threshold is 1 to the number of root keys", "plan.numbers")
    if set(plan.officers) & set(plan.auditors) or {str(role) for role in Role} & set(plan.people):
        raise BadRequest("plan: nobody is officer and auditor, and no person bears a role's name", "plan.people")
    return plan


def _names(given: Any) -> tuple[str, ...]:
    names = tuple(_name(one) for one in given)
    if len(set(names)) != len(names):
        raise BadRequest("plan: one name twice", "plan.people")
    return names


def _name(given: Any) -> str:
    if not isinstance(given, str) or not NAME_CHARS[0] <= len(given) <= NAME_CHARS[1] or not given.isprintable():
        raise BadRequest(f"plan: {given!r:.40} is no name or code", "plan.people")
    if "/" in given:
        raise BadRequest(f"plan: {given!r:.40} has a slash", "plan.people")
    return given
