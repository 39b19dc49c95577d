"""`issuer keys rotate` and `issuer keys compromised`: keys that follow each other, and keys in other hands."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cardlink.statements.algorithms import ES256, ML_DSA_44
from cardlink.statements.trust import AGILE_USES
from issuer import database, outbox
from issuer.access import bundles
from issuer.audit import checkpoints
from issuer.cards import outdated
from issuer.cli.common import Desk, desk_of, read_day, read_text
from issuer.cli.officer import Exportable, OfficerFd, OfficerFile, OfficerName, key_room
from issuer.errors import Refused
from issuer.registry import agencies
from issuer.trust import audit_key, ca, compromise, masters, rotation, signers, x509_roots
from issuer.trust.port import Ceremony, Signing
from issuer.trust.publication import Change, nothing
from issuer.trust.rotation import Rotated
from issuer.trust.setup import AgencyName, Roots

ALGORITHMS = {"es256": ES256, "ml-dsa-44": ML_DSA_44}
CA = "ca"
ROOT = "root"
AUTHORITIES = {CA: ca.ISSUING, ca.CONTENT: ca.CONTENT}
OF_ALL = (masters.USE, checkpoints.USE, x509_roots.KIND, ROOT)
KINDS = (*signers.AGENCY_USES, *signers.INSTALLATION_USES, *AUTHORITIES, *OF_ALL)


def rotate(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="cli.keys.kind")],
    label: Annotated[str | None, typer.Argument(help="cli.keys.root_label")] = None,
    agency: Annotated[str | None, typer.Option(help="cli.keys.agency")] = None,
    alg: Annotated[str | None, typer.Option("--alg", help="cli.keys.alg")] = None,
    ahead_days: Annotated[int, typer.Option("--ahead-days", min=0, help="cli.keys.ahead_days")] = 0,
    roots: Annotated[int | None, typer.Option(min=1, max=16, help="cli.keys.roots")] = None,
    threshold: Annotated[int | None, typer.Option(min=1, max=16, help="cli.keys.threshold")] = None,
    exportable: Exportable = False,
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Let a new key take over from the one in use; doors hear of it by the next trust list."""
    desk = desk_of(context)
    if kind not in KINDS:
        raise Refused("keys.unknown_kind", kind=kind, kinds=" ".join(KINDS))
    if kind in (*signers.AGENCY_USES, *AUTHORITIES) and agency is None:
        raise Refused("keys.agency_needed", kind=kind)
    if alg is not None and alg not in ALGORITHMS:
        raise Refused("keys.unknown_alg", alg=alg, algorithms=" ".join(ALGORITHMS))
    if alg is not None and kind not in AGILE_USES:
        raise Refused("trust.not_agile", use=kind)
    if kind == ROOT and (label is None) == (roots is None or threshold is None):
        raise Refused("keys.which_root")
    now = desk.now()
    with key_room(desk, officer, officer_pin_fd, officer_pin_file, makes_exportable=exportable) as hsm:
        if kind == ROOT:
            done = _rotate_root(desk, hsm, label, roots, threshold, now)
        elif kind == masters.USE:
            done = rotation.rotate_master(desk.factory, hsm, desk.actor, now)
        elif kind == checkpoints.USE:
            done = rotation.rotate_audit(desk.factory, hsm, desk.actor, desk.config.installation, now)
        elif kind == x509_roots.KIND:
            done = x509_roots.rotate(desk.factory, hsm, desk.actor, now)
        elif kind in AUTHORITIES:
            named = agency_named(desk, agency or "")
            done = rotation.rotate_authority(desk.factory, hsm, desk.actor, AUTHORITIES[kind], named, now)
        else:
            whose = agency or desk.config.installation
            ahead = timedelta(days=ahead_days)
            then = _bundles_anew(now) if kind == bundles.USE and not ahead_days else nothing
            number = ALGORITHMS.get(alg or "")
            done = rotation.rotate_signer(desk.factory, hsm, desk.actor, kind, whose, now, ahead, then, number)
    outbox.poke(desk.config)
    for made in done.made:
        print(made)
    if done.replaced:
        desk.say("cli.keys.replaced", labels=" ".join(done.replaced))
    if done.number is not None:
        desk.say("cli.keys.trust_list", number=done.number)
    if kind == x509_roots.KIND:
        _tell_outside(desk, "cli.keys.root_handed_out", done.replaced[0], now)


def _tell_outside(desk: Desk, code: str, old: str, now: datetime) -> None:
    """Nobody outside follows by itself: say what they are to be told."""
    with database.reading(desk.factory) as session:
        said = x509_roots.outside(session, old, now)
    desk.say(code, label=old, old=said.old, new=said.new)
    if said.url:
        desk.say("cli.keys.root_served", url=said.url, label=old)


def _rotate_root(
    desk: Desk, hsm: Ceremony, label: str | None, roots: int | None, threshold: int | None, now: datetime
) -> Rotated:
    if label is not None:
        return rotation.replace_root(desk.factory, hsm, desk.actor, label, now)
    return rotation.replace_roots(desk.factory, hsm, desk.actor, Roots(roots or 0, threshold or 0), now)


def compromised(
    context: typer.Context,
    label: Annotated[str, typer.Argument(help="cli.keys.label_of_key")],
    known_good: Annotated[str | None, typer.Option("--known-good-until", help="cli.keys.known_good_until")] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="cli.keys.kept_checkpoint")] = None,
    out: Annotated[Path | None, typer.Option(help="cli.keys.cards_out")] = None,
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Stop a key that is in other hands, replace it, tell the doors, and list the cards that need something new."""
    desk = desk_of(context)
    now = desk.now()
    until = datetime.combine(read_day(known_good), time(), UTC) if known_good is not None else None
    then = _bundles_anew(now)
    is_audit = audit_key.is_audit_key(desk.factory, label)
    if checkpoint is not None and not is_audit:
        raise Refused("keys.checkpoint_of_audit", label=label)
    with key_room(desk, officer, officer_pin_fd, officer_pin_file) as hsm:
        if is_audit:
            _bury(desk, hsm, label, now, until, checkpoint, out)
            return
        drill = compromise.compromised(desk.factory, hsm, desk.actor, label, now, until, then)
    outbox.poke(desk.config)
    desk.say("cli.keys.stopped", label=drill.label)
    for made in drill.made:
        print(made)
    if drill.number is not None:
        desk.say("cli.keys.trust_list", number=drill.number)
    desk.say("cli.keys.cards_hit", cards=len(drill.cards), allowed=drill.allowed)
    desk.say(drill.todo)
    with database.reading(desk.factory) as session:
        told = outdated.progress_of(session, drill.label, now)
    if told.total:
        desk.say("cli.keys.cards_updated", done=told.done, total=told.total, waiting=told.waiting)
    if drill.use == x509_roots.KIND:
        _tell_outside(desk, "cli.keys.root_fallen", drill.label, now)
    if out is not None:
        out.write_text("".join(f"{card}\n" for card in drill.cards), encoding="utf-8")


def _bury(
    desk: Desk, hsm: Ceremony, label: str, now: datetime, since: datetime | None, kept: Path | None, out: Path | None
) -> None:
    """The key of the audit log: no card and no door is affected, but whoever keeps checkpoints has to be told."""
    text = read_text(kept) if kept is not None else None
    installation = desk.config.installation
    done = audit_key.compromised(desk.factory, hsm, desk.actor, label, installation, now, since, text)
    desk.say("cli.keys.stopped", label=label)
    for made in done.made:
        print(made)
    dead = f"{done.since.astimezone():%d/%m/%Y %H:%M}"
    desk.say("cli.keys.audit_buried", since=dead, size=done.last.size, root=done.last.root.hex())
    if kept is None:
        desk.say("cli.keys.audit_own")
    desk.say("cli.keys.audit_withdrawn", count=len(done.withdrawn), size=done.checkpoint.size)
    desk.say("cli.keys.audit_told")
    for key in done.keys:
        print(key)
    if out is not None:
        out.write_text("\n".join(done.withdrawn), encoding="utf-8", newline="\n")


def _bundles_anew(now: datetime) -> Change:
    """Sign the bundles of all doors again where their signer or the epoch has changed, in the same transaction."""

    def change(session: Session, hsm: Signing) -> None:
        bundles.publish_all(session, hsm, now)

    return change


def agency_named(desk: Desk, code: str) -> AgencyName:
    """An agency with its name. Raises NotFound."""
    with database.reading(desk.factory) as session:
        return AgencyName(code, agencies.get(session, code).name)
