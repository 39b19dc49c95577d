"""A key ceremony, step by step: who does what is said, done, read aloud, written down; it can be torn at any point.

The store is opened in this process and nowhere else; every operation goes the HSM's usual way: a person's PIN, policy,
quorum, log. What a step has done already is found again when it is done once more, so a step that was torn is simply
repeated. After a break the holders enter their shares, as at every start of the HSM.
"""

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from hsm_sim import backup
from hsm_sim.ceremony_book import Book
from hsm_sim.ceremony_plan import SERVICES, Group, Plan, Wanted
from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import BadRequest, NoSuchKey, WrongPin
from hsm_sim.keys import KeyInfo, Role
from hsm_sim.log import DEFAULT_MAX_BYTES, Log
from hsm_sim.ops import SPECS
from hsm_sim.policy import Op, is_for_several
from hsm_sim.shares import Gathering, look, split
from hsm_sim.store import SECRET_BYTES, Store

FINGERPRINT_CHARS = 16
GROUP_CHARS = 4
STORE, LOG, BOOK = "hsm.store", "hsm.store.log", "ceremony.book"
BACKUP, TRIAL = "hsm.backup", "hsm.trial"
WORDS_ASKED, WORDS_ALIKE = 3, 4
"""How many words of a share its holder types back; the first ones, which all shares have alike, are not asked for."""
SERVICE_PIN_BYTES = 12


class Terminal(Protocol):
    """Where the ceremony speaks and persons type."""

    def say(self, code: str, /, **facts: object) -> None:
        """Show a text of the catalogue."""

    def ask(self, code: str, /, **facts: object) -> str:
        """Ask for a line."""

    def ask_secret(self, code: str, /, **facts: object) -> str:
        """Ask for a line that is not shown."""


def fingerprint(data: bytes) -> str:
    """What is read aloud of a key: the first 16 hex digits of SHA-256 of its point, in groups of four."""
    digits = hashlib.sha256(data).hexdigest()[:FINGERPRINT_CHARS]
    return " ".join(digits[at : at + GROUP_CHARS] for at in range(0, FINGERPRINT_CHARS, GROUP_CHARS))


@dataclass
class Ceremony:
    """One run of a ceremony, from its beginning or from where the last run stopped."""

    plan: Plan
    folder: Path
    handed_out: Path
    terminal: Terminal
    clock_s: Callable[[], float]
    book: Book = field(init=False)
    hsm: Hsm | None = None
    peers: dict[str, Peer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.book = Book(self.folder / BOOK, self.clock_s)
        begun = self.book.find("gather")
        if begun is not None and begun.facts["plan"] != self.plan.digest:
            raise BadRequest("this ceremony was begun with another plan", "plan.other")

    def run(self) -> None:
        """Do every step that is not done. Raises HsmError, OSError; run again, it goes on there."""
        self._step("gather", self._gather)
        self._step("store", self._make_store)
        for group in self.plan.groups():
            self._step(group.step, partial(self._make_keys, group))
        if self.book.find("close") is None:  # a ceremony that ended before there was this step is not taken up again
            self._step("backup", self._back_up)
        self._step("close", self._close)

    def shut(self) -> None:
        """Close the HSM. What was done is on the disk anyway."""
        if self.hsm is not None:
            self.hsm.close()
            self.hsm = None

    def _step(self, name: str, do: Callable[[], tuple[tuple[str, ...], dict[str, Any]]]) -> None:
        if self.book.find(name) is not None:
            self.terminal.say("done-before", step=name)
            return
        self.terminal.say(f"step-{name.split()[0]}", code=name.partition(" ")[2])
        persons, facts = do()
        self.book.add(name, persons, facts)

    # --- who is there

    def _gather(self) -> tuple[tuple[str, ...], dict[str, Any]]:
        for person in self.plan.people:
            while self.terminal.ask("present", name=person).strip() != person:
                self.terminal.say("not-present", name=person)
        return self.plan.people, {
            "plan": self.plan.digest,
            "installation": self.plan.installation,
            "agencies": list(self.plan.agencies),
            "officers": list(self.plan.officers),
            "auditors": list(self.plan.auditors),
            "witnesses": list(self.plan.witnesses),
            "holders": list(self.plan.holders),
            "shares": f"{self.plan.share_threshold}/{len(self.plan.holders)}",
            "persons_needed": self.plan.persons_needed,
        }

    # --- the store, its shares, its persons

    def _make_store(self) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Make everything anew if a run was torn here: until this step is written down the store holds no key."""
        self.handed_out.mkdir(mode=0o700, exist_ok=True)
        secret = os.urandom(SECRET_BYTES)
        shares = split(secret, self.plan.share_threshold, len(self.plan.holders))
        facts: dict[str, Any] = {"shares": {}}
        for holder, share in zip(self.plan.holders, shares, strict=True):
            self._hand_out(f"share-{holder}.txt", share)
            facts["shares"][holder] = fingerprint(share.encode())
            self.terminal.say("share", name=holder, file=f"share-{holder}.txt", fingerprint=facts["shares"][holder])
        pins = {person: self._new_pin(person) for person in (*self.plan.officers, *self.plan.auditors)}
        for name in (STORE, LOG):
            (self.folder / name).unlink(missing_ok=True)
        self._open(secret, is_new=True)
        hsm = self._hsm
        services = {role: secrets.token_hex(SERVICE_PIN_BYTES) for role in SERVICES}
        for role, pin in services.items():
            self._hand_out(f"pin-{role}.txt", pin)
        hsm.set_pins(services)
        founder = Peer(Role.SO, os.getuid(), "ceremony")
        for person, pin in pins.items():
            role = Role.SO if person in self.plan.officers else Role.AUDITOR
            hsm.call(founder, "add_person", [person, str(role), pin])
        hsm.found(self.plan.persons_needed)
        seal = hsm.log.seal_public or b""
        facts |= {"log_key": seal.hex(), "log_fingerprint": fingerprint(seal)}
        self.terminal.say("log-key", fingerprint=facts["log_fingerprint"])
        return tuple(dict.fromkeys((*self.plan.holders, *pins))), facts

    def _hand_out(self, name: str, text: str) -> None:
        """Write a file for one person, readable by nobody else; the person takes it away."""
        path = self.handed_out / name
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")

    def _new_pin(self, person: str) -> str:
        while True:
            pin = self.terminal.ask_secret("new-pin", name=person)
            if pin == self.terminal.ask_secret("new-pin-again", name=person) and 6 <= len(pin) <= 64:
                return pin
            self.terminal.say("pin-differs")

    def _open(self, secret: bytes, *, is_new: bool = False) -> None:
        store = Store(self.folder / STORE, secret, os.urandom, create=is_new)
        try:
            log = Log(self.folder / LOG, store.state.anchor, DEFAULT_MAX_BYTES)
            self.hsm = Hsm(SPECS, store, log, os.urandom, self.clock_s)
        except BaseException:
            store.close()
            raise
        log.append("hsm", os.getuid(), "start", "ok", "", "ceremony")

    @property
    def _hsm(self) -> Hsm:
        """The open HSM; after a break it opens by the shares of as many holders as it takes."""
        while self.hsm is None:
            gathering = Gathering()
            secret: bytes | None = None
            while secret is None:
                self.terminal.say("shares-wanted", have=gathering.count, needed=self.plan.share_threshold)
                try:
                    secret = gathering.add(self.terminal.ask_secret("share-typed"))
                except BadRequest as error:
                    self.terminal.say("share-wrong", why=error.detail)
            self._open(secret)
        return self.hsm

    # --- keys

    def _make_keys(self, group: Group) -> tuple[tuple[str, ...], dict[str, Any]]:
        persons: dict[str, None] = {}
        keys = []
        whole = hashlib.sha256()
        for wanted in group.keys:
            info = self._find(wanted) or self._make(wanted)
            made = self.book.find(f"made {wanted.label}")
            persons |= dict.fromkeys(made.persons if made is not None else ())
            told = info.public or info.kcv or b""
            shown = fingerprint(told) if info.public else told.hex()
            whole.update(told)
            keys.append(
                {
                    "label": info.label,
                    "kind": str(info.kind),
                    "use": str(info.use),
                    "scope": list(info.scope),
                    "public": info.public.hex() if info.public else "",
                    "shown": shown,
                    "may_leave": info.terms.is_exportable,
                }
            )
            self.terminal.say("key", label=info.label, use=str(info.use), scope=" ".join(info.scope), shown=shown)
            if info.terms.is_exportable:
                self.terminal.say("may-leave", label=info.label)
        reader = (*self.plan.witnesses, *self.plan.auditors)[0]
        together = " ".join(_groups(whole.hexdigest()[:FINGERPRINT_CHARS]))
        while self.terminal.ask("read-aloud", name=reader, fingerprint=together).strip() != together.split()[0]:
            self.terminal.say("read-wrong")
        return (*persons, reader), {"keys": keys, "together": together}

    def _find(self, wanted: Wanted) -> KeyInfo | None:
        """A key that a run before has made."""
        key = self._hsm.state.keys.get(wanted.label)
        if key is None:
            return None
        found = key.info.kind, key.info.use, key.info.scope, key.info.terms
        if found != (wanted.kind, wanted.use, wanted.scope, self.plan.terms_of(wanted)):
            raise NoSuchKey(f"{wanted.label} is there for something else")
        return key.info

    def _make(self, wanted: Wanted) -> KeyInfo:
        """Make a key as the first officer; where it takes several, the next ones agree to its hash.

        Who it takes is written down before: a run that is torn right after does not forget them.
        """
        terms = self.plan.terms_of(wanted)
        args = [wanted.label, str(wanted.kind), str(wanted.use), list(wanted.scope), terms.to_wire(), True]
        officers = self.plan.officers[: self.plan.persons_needed]
        first = self._peer(officers[0])
        if self.plan.persons_needed == 1 or not is_for_several(Op.GENERATE, wanted.use):
            self._note_makers(wanted, officers[:1])
            return KeyInfo.from_wire(self._hsm.call(first, Op.GENERATE, args))
        nonce, _, _, digest, *_ = self._hsm.call(first, Op.PROPOSE, [str(Op.GENERATE), args])
        for officer in officers[1:]:
            peer = self._peer(officer)
            shown = " ".join(_groups(digest.hex()[:FINGERPRINT_CHARS]))
            while self.terminal.ask("agree", name=officer, label=wanted.label, hash=shown).strip() != officer:
                self.terminal.say("not-agreed", name=officer)
            self._hsm.call(peer, Op.APPROVE, [nonce, digest])
        self._note_makers(wanted, officers)
        return KeyInfo.from_wire(self._hsm.call(first, Op.CARRY_OUT, [nonce]))

    def _note_makers(self, wanted: Wanted, officers: tuple[str, ...]) -> None:
        if self.book.find(f"made {wanted.label}") is None:
            self.book.add(f"made {wanted.label}", officers, {})

    def _peer(self, person: str) -> Peer:
        """A person who has shown the PIN in this run."""
        while person not in self.peers:
            hsm = self._hsm
            try:
                self.peers[person] = hsm.login(person, self.terminal.ask_secret("pin", name=person), os.getuid())
            except WrongPin as error:
                self.terminal.say("pin-wrong", why=error.detail)
        return self.peers[person]

    # --- the first backup

    def _back_up(self) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Make the backup anew if a run was torn here: the shares of the one before open nothing any more."""
        state, holders, threshold = self._hsm.state, self.plan.backup_holders, self.plan.backup_threshold
        self.handed_out.mkdir(mode=0o700, exist_ok=True)
        path = self.folder / BACKUP
        backup.remove(path)
        wrap_key, shares = backup.new_shares(threshold, len(holders))
        digest = backup.write(state, wrap_key, path)
        for holder, share in zip(holders, shares.words, strict=True):
            self._hand_out(f"backup-share-{holder}.txt", share)
        # from here on as it would be in need: with what the files hold, and against what was read aloud
        held = {holder: self._handed_out(f"backup-share-{holder}.txt") for holder in holders}
        expected = {label: bytes.fromhex(value) for label, value in self._told_values().items()}
        compared = backup.trial(path, list(held.values()), threshold, self.folder / TRIAL, expected)
        self.terminal.say("backup-tried", file=BACKUP, keys=compared, digest=digest)
        told: dict[str, Any] = {}
        for holder, share in held.items():
            told[holder] = {"number": look(share).number, "fingerprint": fingerprint(share.encode())}
            self.terminal.say("backup-share", name=holder, file=f"backup-share-{holder}.txt", split=shares.split)
            self._prove_written(holder, share.split())
        facts = {"file": BACKUP, "sha256": digest, "share_set": shares.split, "holders": told}
        return holders, facts | {"needed": f"{threshold}/{len(holders)}", "compared": compared}

    def _prove_written(self, holder: str, words: list[str]) -> None:
        """Ask for some words of a share, each until it is right."""
        asked = secrets.SystemRandom().sample(range(WORDS_ALIKE, len(words)), WORDS_ASKED)
        for at in sorted(asked):
            while self.terminal.ask_secret("share-word", name=holder, number=at + 1).strip().lower() != words[at]:
                self.terminal.say("word-wrong")

    def _handed_out(self, name: str) -> str:
        return (self.handed_out / name).read_text(encoding="utf-8").strip()

    def _told_values(self) -> dict[str, str]:
        """Public keys and key check values as the book has them, by label."""
        groups = [self.book.find(group.step) for group in self.plan.groups()]
        keys = [key for line in groups if line is not None for key in line.facts["keys"]]
        return {key["label"]: key["public"] or key["shown"] for key in keys}

    # --- the end

    def _close(self) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Seal the log under an auditor's PIN; the transcript is made of what is written down then."""
        auditor = self.plan.auditors[0]
        count, _, last, _ = self._hsm.call(self._peer(auditor), Op.LOG_HEAD, [])
        return (auditor,), {"log_lines": count, "log_last": last.hex(), "book": self.book.last}

    def sign(self, several: list[bytes]) -> list[bytes]:
        """Sign with the key that seals the HSM's log."""
        return [self._hsm.log.sign(one) for one in several]


def _groups(digits: str) -> list[str]:
    return [digits[at : at + GROUP_CHARS] for at in range(0, len(digits), GROUP_CHARS)]
