"""An HSM in this process with its files in a temporary directory, and the card's end of SCP03 in its shortest form."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cardlink.gp import scp03
from cardlink.gp.commands import InitializeUpdateAnswer, decode_initialize_update, parse_external_authenticate
from cardlink.gp.scp03 import Level, Option, SessionCiphers, StaticKeys
from cardlink.iso7816.apdu import Command, decode_command
from hsm_sim.core import Hsm, Peer
from hsm_sim.keys import Role
from hsm_sim.log import DEFAULT_MAX_BYTES, Log
from hsm_sim.ops import SPECS
from hsm_sim.store import Store

SECRET = bytes(range(32))  # made up, for tests alone
PINS = {Role.SO: "so-12345", Role.USER: "user-123", Role.AUDITOR: "audit-12"}
KDD = bytes.fromhex("A1A01243058551312085")
NOW_S = 1_770_000_000


@dataclass
class HsmWorld:
    """Opens, closes and reopens one HSM."""

    folder: Path
    log_max_bytes: int = DEFAULT_MAX_BYTES

    @property
    def store_path(self) -> Path:
        return self.folder / "store"

    @property
    def log_path(self) -> Path:
        return self.folder / "store.log"

    def open(self, secret: bytes = SECRET) -> Hsm:
        create = not self.store_path.exists()
        store = Store(self.store_path, secret, os.urandom, create=create)
        try:
            hsm = Hsm(
                SPECS, store, Log(self.log_path, store.state.anchor, self.log_max_bytes), os.urandom, lambda: NOW_S
            )
        except BaseException:
            store.close()
            raise
        if create:
            hsm.set_pins(PINS)
        return hsm

    def login(self, hsm: Hsm, role: Role) -> Peer:
        return hsm.login(role, PINS[role], os.getuid())


@dataclass
class CardEnd:
    """What a card does in SCP03, without a state machine: checks, opens, answers. Counts what it saw."""

    keys: StaticKeys
    kvn: int = 0x30
    option: int = 0x60
    kdd: bytes = KDD
    level: int = 0
    counter: int = 0
    chaining: bytes = scp03.FIRST_CHAINING_VALUE
    seen: list[Command] = field(default_factory=list)
    ciphers: SessionCiphers | None = None

    def initialize_update(self, host_challenge: bytes) -> bytes:
        size = 16 if self.option & Option.S16 else 8
        challenge = os.urandom(size)
        session = scp03.derive_session(self.keys, host_challenge, challenge)
        self.ciphers, self.expected = (
            SessionCiphers(session, size),
            scp03.host_cryptogram(session, host_challenge, challenge),
        )
        cryptogram = scp03.card_cryptogram(session, host_challenge, challenge)
        answer = InitializeUpdateAnswer(self.kdd, self.kvn, self.option, challenge, cryptogram).encode()
        assert decode_initialize_update(answer).kdd == self.kdd
        return answer

    def external_authenticate(self, apdu: bytes) -> bytes:
        command = decode_command(apdu)
        parsed = parse_external_authenticate(command)
        assert parsed.host_cryptogram == self.expected
        self._check_mac(command)
        self.level = parsed.level
        return b"\x90\x00"

    def _check_mac(self, command: Command) -> bytes:
        assert self.ciphers
        size = self.ciphers.mac_bytes
        data, mac = command.data[:-size], command.data[-size:]
        header = bytes((command.cla, command.ins, command.p1, command.p2))
        maced = scp03.maced_header(header, len(command.data), command.extended) + data
        self.chaining = self.ciphers.c_mac(self.chaining, maced)
        assert mac == self.chaining[:size]
        return data

    def transmit(self, apdu: bytes, answer: bytes = b"", sw: int = 0x9000) -> bytes:
        """Open a protected command, keep it in `seen`, and give this answer protected."""
        command = decode_command(apdu)
        data = self._check_mac(command)
        assert self.ciphers
        self.counter += 1
        if self.level & Level.C_ENC and data:
            data = self.ciphers.decrypt_command(self.counter, data)
        cla = command.cla & ~(0x20 if command.cla & 0x40 else 0x04)
        self.seen.append(Command(cla, command.ins, command.p1, command.p2, data, command.le, command.extended))
        tail = sw.to_bytes(2, "big")
        if not self.level & Level.R_MAC or not scp03.is_protected_sw(sw):
            return answer + tail
        if self.level & Level.R_ENC and answer:
            answer = self.ciphers.encrypt_response(self.counter, answer)
        return answer + self.ciphers.r_mac(self.chaining, answer, sw) + tail
