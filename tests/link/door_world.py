"""A small world for door tests: signers, a trust list, cards of `cardos`, bundles, status statements, a door on disk.

All keys are made for the test at hand; people and agencies are made up.
"""

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier
from door_cards import Issued, Key, connect, make_card, uuid4

from cardlink.piv.objects import encode_certificate
from cardlink.piv.tables import CARD_CREDENTIAL, CERT_CARD_AUTH
from cardlink.statements.bundle import (
    AntiPassback,
    AreaLevel,
    Bundle,
    Calendar,
    HolderCard,
    Mechanism,
    Rule,
    Settings,
    issue_bundle,
)
from cardlink.statements.card import CardCredential, issue_card_credential
from cardlink.statements.record import Kind, decode_record
from cardlink.statements.status import (
    Entry,
    Event,
    Fresh,
    Heartbeat,
    Snapshot,
    Status,
    issue_event,
    issue_fresh,
    issue_heartbeat,
    issue_snapshot,
)
from cardlink.statements.status_state import pack
from cardlink.statements.trust import (
    Anchor,
    KeyEntry,
    KeyState,
    ListEntry,
    Profile,
    Roots,
    TrustList,
    Use,
    issue_trust_list,
)
from cardos.card import Card
from cardos.vpcd import Answering
from reader_daemon.clock import Clock
from reader_daemon.config import Config
from reader_daemon.daemon import Daemon
from reader_daemon.database import Database
from reader_daemon.door import Lock
from reader_daemon.enrol import Enrolment
from reader_daemon.loop import TapResult

OWNER, VISITOR, STRANGER = "H38", "G09", "H49"
DAY_S = 86_400
NOON = datetime(2026, 9, 1, 5, 0, tzinfo=UTC)  # a Tuesday, 12:00 in Hà Nội
ALWAYS = Calendar(((((0, 1440),),) * 7), {})
OFFICE = Calendar((((450, 690), (780, 1020)),) * 5 + ((), ()), {20260902: ()})
LIST_LENGTH = 1000


class Machine:
    """Wall and monotonic clock of a door that a test moves."""

    def __init__(self, at: datetime = NOON) -> None:
        self.wall_s = at.timestamp()
        self.ran_s = 5000.0

    def wall(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return self.ran_s

    def run(self, seconds: float) -> None:
        self.wall_s += seconds
        self.ran_s += seconds


class ListLock:
    """A lock that remembers what it was told."""

    def __init__(self) -> None:
        self.moves: list[str] = []

    def unlock(self, open_ms: int) -> None:
        self.moves.append("unlock")

    def relock(self) -> None:
        self.moves.append("relock")

    @property
    def unlocks(self) -> int:
        return self.moves.count("unlock")


@dataclass
class World:
    """Everybody who signs, and what they have signed so far."""

    now: datetime = NOON
    door: bytes = field(default_factory=uuid4)
    epoch: int = 1
    seq: int = 0
    bundle_seq: int = 0
    index: int = 0
    statuses: dict[int, Status] = field(default_factory=dict)
    events: list[bytes] = field(default_factory=list)
    root: Key = field(default_factory=Key)
    card: Key = field(default_factory=Key)
    visitor_card: Key = field(default_factory=Key)
    status: Key = field(default_factory=Key)
    bundle: Key = field(default_factory=Key)
    visitor_bundle: Key = field(default_factory=Key)
    ca: Key = field(default_factory=Key)

    @property
    def now_s(self) -> int:
        return int(self.now.timestamp())

    def entry(self, key: Key, use: Use, scope: str, state: KeyState = KeyState.ACTIVE) -> KeyEntry:
        start = self.now_s - 100 * DAY_S
        return KeyEntry(key.kid, key.cose, (scope,), use, start, start + 900 * DAY_S, start + 2000 * DAY_S, state)

    def trust_list(self, number: int = 1) -> TrustList:
        return TrustList(
            expires_s=self.now_s + 20 * DAY_S,
            issued_s=self.now_s - DAY_S,
            epoch=self.epoch,
            number=number,
            roots=Roots(1, (self.root.cose,)),
            keys=(
                self.entry(self.card, Use.CARD, OWNER),
                self.entry(self.visitor_card, Use.CARD, VISITOR),
                self.entry(self.status, Use.STATUS, OWNER),
                self.entry(self.bundle, Use.BUNDLE, OWNER),
                self.entry(self.visitor_bundle, Use.BUNDLE, VISITOR),
            ),
            anchors=(Anchor(self.ca_certificate, (OWNER,), Profile.OWN),),
            lists=(ListEntry(1, LIST_LENGTH, self.status.kid),),
        )

    def issue_trust(self, content: TrustList | None = None, root: Key | None = None) -> bytes:
        root = root if root is not None else self.root
        return issue_trust_list(content if content is not None else self.trust_list(), [(root.kid, root.sign)])

    # -- cards

    def credential(self, key: Key, agency: str = OWNER, **changes: object) -> CardCredential:
        self.index += 1
        made = CardCredential(agency, self.now_s + 300 * DAY_S, self.now_s - DAY_S, uuid4(), key.cose, 1, self.index)
        return replace(made, **changes)  # type: ignore[arg-type]  # the names come from a test's own words

    def issue(self, agency: str = OWNER, signer: Key | None = None, **changes: object) -> Issued:
        key = Key()
        signer = signer if signer is not None else {OWNER: self.card, VISITOR: self.visitor_card}[agency]
        credential = self.credential(key, agency, **changes)
        raw = issue_card_credential(credential, signer.kid, signer.sign)
        return Issued(make_card(key, {CARD_CREDENTIAL.tag: raw}), key, credential, raw)

    @property
    def ca_certificate(self) -> bytes:
        if not hasattr(self, "_ca_certificate"):
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA thử")])
            builder = self._certificate(name, name, self.ca, x509.BasicConstraints(ca=True, path_length=0))
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            self._ca_certificate = (
                builder.add_extension(usage, critical=True)
                .sign(self.ca.private, hashes.SHA256())
                .public_bytes(Encoding.DER)
            )
        return self._ca_certificate

    def certificate(self, key: Key, card_uuid: bytes, *, purpose: str = "2.16.840.1.101.3.6.8") -> bytes:
        """A 9E certificate of the owner's authority (id-PIV-cardAuth unless told otherwise)."""
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, OWNER)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA thử")])
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        name = f"urn:uuid:{_uuid_text(card_uuid)}"
        return (
            self._certificate(subject, issuer, key, x509.BasicConstraints(ca=False, path_length=None))
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ObjectIdentifier(purpose)]), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)]), critical=False)
            .sign(self.ca.private, hashes.SHA256())
            .public_bytes(Encoding.DER)
        )

    def _certificate(
        self, subject: x509.Name, issuer: x509.Name, key: Key, basic: x509.BasicConstraints
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=10))
            .not_valid_after(self.now + timedelta(days=100))
            .add_extension(basic, critical=True)
        )

    def certificate_card(self, key: Key, card_uuid: bytes, purpose: str = "2.16.840.1.101.3.6.8") -> Card:
        """A card without a credential: another product, with only its 9E certificate."""
        der = self.certificate(key, card_uuid, purpose=purpose)
        return make_card(key, {CERT_CARD_AUTH.tag: encode_certificate(der)})

    # -- rules

    def rules(self, *rules: Rule, holders: tuple[tuple[HolderCard, ...], ...] = (), **changes: object) -> Bundle:
        self.bundle_seq += 1
        settings = Settings(
            AreaLevel.CONTROLLED, (Mechanism.CREDENTIAL,), 3000, 2000, 3600, DAY_S, AntiPassback.OFF, "Asia/Ho_Chi_Minh"
        )
        made = Bundle(
            owner=OWNER,
            door_uuid=self.door,
            expires_s=self.now_s + 30 * DAY_S,
            not_before_s=self.now_s - DAY_S,
            issued_s=self.now_s - 60,
            epoch=self.epoch,
            seq=self.bundle_seq,
            settings=settings,
            rules=rules,
            calendars={1: ALWAYS, 2: OFFICE},
            holders=holders,
        )
        return replace(made, **changes)  # type: ignore[arg-type]  # the names come from a test's own words

    def everybody(self, *people: Issued, **changes: object) -> Bundle:
        """A bundle that lets these people in at any time."""
        rule = Rule(1, True, tuple(range(len(people))), (), 1)
        return self.rules(rule, holders=tuple(one.holder for one in people), **changes)

    def issue_rules(self, bundle: Bundle, signer: Key | None = None) -> bytes:
        signer = signer if signer is not None else self.bundle
        return issue_bundle(bundle, signer.kid, signer.sign)

    # -- status

    def snapshot(self, signer: Key | None = None, **changes: object) -> bytes:
        signer = signer if signer is not None else self.status
        packed = pack(LIST_LENGTH, self.statuses)
        made = Snapshot(OWNER, 1, self.now_s + 7 * DAY_S, self.now_s, 3600, self.epoch, self.seq, packed)
        return issue_snapshot(replace(made, **changes), signer.kid, signer.sign)  # type: ignore[arg-type]  # as above

    def set_status(self, card: Issued | int, status: Status, signer: Key | None = None) -> bytes:
        """The next event of the feed."""
        signer = signer if signer is not None else self.status
        index = card if isinstance(card, int) else card.credential.status_index
        self.seq += 1
        self.statuses[index] = status
        event = Event(OWNER, self.now_s, self.epoch, self.seq, (Entry(1, index, status),))
        raw = issue_event(event, signer.kid, signer.sign)
        self.events.append(raw)
        return raw

    def heartbeat(self, **changes: object) -> bytes:
        made = replace(Heartbeat(OWNER, self.now_s, self.epoch, self.seq), **changes)  # type: ignore[arg-type]  # as above
        return issue_heartbeat(made, self.status.kid, self.status.sign)

    def fresh(self, nonce: bytes, **changes: object) -> bytes:
        made = replace(Fresh(OWNER, self.now_s, self.epoch, self.seq, nonce), **changes)  # type: ignore[arg-type]  # as above
        return issue_fresh(made, self.status.kid, self.status.sign)

    # -- doors

    def enrolment(self) -> Enrolment:
        return Enrolment(self.door, "Cửa chính", OWNER, Roots(1, (self.root.cose,)), self.epoch)

    def install(self, directory: Path) -> Config:
        """A door's data directory after enrolment."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = Config(data_dir=directory)
        pem = Key().private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        config.key_path.write_bytes(pem)
        config.enrolment_path.write_bytes(self.enrolment().encode())
        return config

    def open_door(self, config: Config, machine: Machine | None = None, lock: Lock | None = None) -> "Running":
        """Open a door on that directory, with a clock of its own."""
        machine = machine if machine is not None else Machine(self.now)
        return Running(self, config, machine, lock)

    def ready_door(
        self, directory: Path, bundle: Bundle, machine: Machine | None = None, lock: Lock | None = None
    ) -> "Running":
        """A door with trust list, status and rules, fresh."""
        door = self.open_door(self.install(directory), machine, lock)
        assert door.state.take_trust(self.issue_trust()) is None
        assert door.state.take_snapshots([self.snapshot()], []) is None
        assert door.state.take_bundle(self.issue_rules(bundle)) is None
        door.freshen()
        return door


class Running:
    """An opened door in this process."""

    def __init__(self, world: World, config: Config, machine: Machine, lock: Lock | None = None) -> None:
        self.world = world
        self.config = config
        self.machine = machine
        self.lock = ListLock()
        newest_s = _newest_signed(config)
        clock = Clock(newest_s, wall=machine.wall, monotonic=machine.monotonic)
        self.daemon = Daemon.open(config, lock=lock if lock is not None else self.lock, clock=clock)
        self.state = self.daemon.state
        self.loop = self.daemon.loop
        self.clock = clock

    def tap(self, card: Issued | Answering) -> "Tapped":
        connection = card.connect() if isinstance(card, Issued) else connect(card)
        before = self.lock.unlocks
        result = self.loop.tap(connection, "test")
        assert (self.lock.unlocks > before) is result.opened
        return Tapped(str(result.reason) if result.reason is not None else "granted", result.opened, result)

    def freshen(self) -> None:
        nonce = secrets.token_bytes(16)
        question = self.state.ask(nonce)
        assert self.state.take_fresh(self.world.fresh(nonce), question) is None

    def alarms(self) -> list[str]:
        """Reasons of the alarm records now in the log."""
        rows = self.daemon.database.rows("SELECT record FROM records ORDER BY boot, seq")
        records = [decode_record(row[0]) for row in rows if isinstance(row[0], bytes)]
        return [str(one.reason) for one in records if one.kind == Kind.ALARM]

    def close(self) -> None:
        self.daemon.close()


@dataclass
class Tapped:
    """What a test asks about a tap."""

    said: str
    opened: bool
    result: TapResult


def _newest_signed(config: Config) -> int:
    if not config.database_path.exists():
        return 0
    database = Database(config.database_path)
    newest_s = database.number("newest_signed_s")
    database.close()
    return newest_s


def _uuid_text(raw: bytes) -> str:
    return str(UUID(bytes=raw))
