"""A host's end of SCP03 for the tests of the card, as strict as the HSM's must be; only the arithmetic is shared."""

from dataclasses import dataclass

from cardlink.gp import commands as gp
from cardlink.gp.commands import ISD_AID
from cardlink.gp.inventory import CardTag, get_data
from cardlink.gp.scp03 import (
    Level,
    Option,
    SessionCiphers,
    StaticKeys,
    card_cryptogram,
    derive_session,
    host_cryptogram,
    is_protected_sw,
    maced_header,
    max_plain_bytes,
    pseudo_random_challenge,
)
from cardlink.iso7816.apdu import Command, split_chain
from cardlink.piv.tables import Interface
from cardos.card import Card
from cardos.factory import TRANSPORT_KVN, make_blank
from cardos.records import DEFAULT_OPTION
from cardos.store import MemoryStore

# keys made up for these tests
SERIAL = bytes.fromhex("0001000200C0FFEE0001")
TRANSPORT = StaticKeys(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
CHALLENGE = bytes.fromhex("0102030405060708")


def blank(keys: StaticKeys = TRANSPORT, option: int = DEFAULT_OPTION) -> MemoryStore:
    """What a blank card with these transport keys and this SCP03 option keeps."""
    return MemoryStore(make_blank(SERIAL, keys, option))


def card_with(keys: StaticKeys = TRANSPORT, option: int = DEFAULT_OPTION) -> Card:
    """A blank card."""
    return Card(blank(keys, option))


def raw(card: Card, command: Command, interface: Interface = Interface.CONTACT) -> tuple[bytes, int]:
    """Say one command in the clear: data and status word."""
    answer = card.transmit(command.encode(), interface)
    return answer[:-2], int.from_bytes(answer[-2:], "big")


@dataclass
class Host:
    """A host's end of one session."""

    card: Card
    ciphers: SessionCiphers
    level: int
    mcv: bytes
    counter: int = 0

    def wrap(self, command: Command) -> Command:
        """Protect one command."""
        size = self.ciphers.mac_bytes
        self.counter += 1
        data = command.data
        if self.level & Level.C_ENC and data:
            data = self.ciphers.encrypt_command(self.counter, data)
        cla = command.cla | 0x04
        header = maced_header(bytes((cla, command.ins, command.p1, command.p2)), len(data) + size, command.extended)
        self.mcv = self.ciphers.c_mac(self.mcv, header + data)
        return Command(cla, command.ins, command.p1, command.p2, data + self.mcv[:size], command.le, command.extended)

    def unwrap(self, answer: bytes) -> tuple[bytes, int]:
        """Check and open one answer; an error must be bare."""
        data, sw = answer[:-2], int.from_bytes(answer[-2:], "big")
        if not is_protected_sw(sw):
            assert not data
        elif self.level & Level.R_MAC:
            size = self.ciphers.mac_bytes
            data, mac = data[:-size], data[-size:]
            assert self.ciphers.is_r_mac(self.mcv, data, sw, mac)
            if self.level & Level.R_ENC and data:
                data = self.ciphers.decrypt_response(self.counter, data)
        return data, sw

    def say(self, command: Command) -> tuple[bytes, int]:
        """Chain first, then protect each block; collect 61xx; then take the protection off."""
        most = max_plain_bytes(self.level, self.ciphers.mac_bytes)
        blocks = (command,) if command.extended else split_chain(command, most)
        answer = b""
        for block in blocks:
            answer = self.card.transmit(self.wrap(block).encode())
            if block is not blocks[-1]:
                assert self.unwrap(answer) == (b"", 0x9000)
        whole = b""
        while answer[-2] == 0x61:
            whole += answer[:-2]
            answer = self.card.transmit(bytes.fromhex("00C00000") + answer[-1:])
        return self.unwrap(whole + answer)


def begin(
    card: Card, keys: StaticKeys = TRANSPORT, kvn: int = TRANSPORT_KVN, aid: bytes = ISD_AID
) -> tuple[Host, bytes, gp.InitializeUpdateAnswer]:
    """SELECT and INITIALIZE UPDATE, with all that a host can check of the answer; gives the host cryptogram as well."""
    option = card.persistent.channel_option
    raw(card, gp.select(aid))
    challenge = CHALLENGE * (2 if option & Option.S16 else 1)
    answer, sw = raw(card, gp.initialize_update(kvn, challenge))
    assert sw == 0x9000
    update = gp.decode_initialize_update(answer)
    assert (update.kdd, update.option) == (card.persistent.chip.kdd, option)
    if option & Option.PSEUDO_RANDOM_CHALLENGE:
        made = pseudo_random_challenge(keys.enc, update.sequence_counter, aid, update.mac_bytes)
        assert update.card_challenge == made
    session = derive_session(keys, challenge, update.card_challenge)
    assert card_cryptogram(session, challenge, update.card_challenge) == update.card_cryptogram
    host = Host(card, SessionCiphers(session, update.mac_bytes), 0, bytes(16))
    return host, host_cryptogram(session, challenge, update.card_challenge), update


def open_channel(
    card: Card, level: int = 0x33, keys: StaticKeys = TRANSPORT, kvn: int = TRANSPORT_KVN, aid: bytes = ISD_AID
) -> Host:
    """Open a session. EXTERNAL AUTHENTICATE carries a C-MAC, is never encrypted and does not count."""
    host, cryptogram, _ = begin(card, keys, kvn, aid)
    assert raw(card, host.wrap(gp.external_authenticate(level, cryptogram))) == (b"", 0x9000)
    host.level, host.counter = level, 0
    return host


def told(card: Card, tag: CardTag) -> tuple[bytes, int]:
    """What the security domain answers to GET DATA, over contact and in the clear."""
    raw(card, gp.select())
    return raw(card, get_data(tag))
