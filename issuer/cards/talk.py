"""What the centre says to a card, as generators: they yield APDUs and are sent the answers; nobody here does I/O.

Session keys live in the HSM; each command is wrapped and each answer opened there.
"""

import logging
from collections.abc import Generator
from typing import TypeVar

from cardlink.errors import CardStatus, Malformed
from cardlink.gp import commands as gp
from cardlink.iso7816.apdu import Command, Ins, command_name, decode_response, split_chain, with_le
from cardlink.iso7816.sw import SUCCESS_BYTES, announced, as_sw, is_more_available, is_wrong_le
from cardlink.piv import commands as piv
from issuer.cards.profiles import CardProfile
from issuer.trust.port import Channels, HsmError, WrongCryptogram

log = logging.getLogger(__name__)
T = TypeVar("T")
Talk = Generator[bytes, bytes, T]

SUCCESS = 0x9000
MAX_ANSWER_BYTES = 32_768
CHALLENGE_BYTES = 16  # as many as S16 mode takes; the others use the first 8
TRANSPORT, CARD = "transport", "card"


class OtherCard(Exception):
    """The card in the reader is not the one of this job."""

    def __init__(self, serial: str) -> None:
        super().__init__(serial)
        self.serial = serial


class KeysLost(Exception):
    """The card holds neither the transport keys nor its own: nobody can speak to it."""


def whole(raw: bytes) -> Talk[bytes]:
    """Send one APDU and fetch all of its answer; gives data and the last status word. Another Le is taken once."""
    answer = decode_response((yield raw))
    if is_wrong_le(answer.sw) and not answer.data:
        raw = with_le(raw, announced(answer.sw))
        answer = decode_response((yield raw))
    data = answer.data
    while is_more_available(answer.sw):
        if len(data) > MAX_ANSWER_BYTES or (raw[1] == Ins.GET_RESPONSE and not answer.data):
            raise Malformed("card answer", f"{command_name(raw[1])}: no end after {len(data)} bytes")
        raw = bytes((0x00, Ins.GET_RESPONSE, 0x00, 0x00, answer.sw & 0xFF))
        answer = decode_response((yield raw))
        data += answer.data
    return data + answer.sw.to_bytes(2, "big")


def plain(command: Command) -> Talk[bytes]:
    """Say a command in the clear. Raises CardStatus unless it is answered 9000."""
    return _checked(command.ins, (yield from whole(command.encode())))


def get_object(tag: int) -> Talk[bytes]:
    """Read one object in the clear."""
    return piv.unwrap_object(tag, (yield from plain(piv.get_data(tag))))


class Channel:
    """One secure channel of one job: opened in an application, gone with the next SELECT or the next loss."""

    def __init__(self, hsm: Channels, job: str, serial: str, profile: CardProfile, labels: dict[str, str]) -> None:
        """`labels`: the HSM's keys by the names of the key sets that the card may hold. All but the transport keys are
        derived from master keys.
        """
        self._hsm = hsm
        self._job = job
        self._kdd = bytes.fromhex(serial)
        self._profile = profile
        self._labels = labels
        self._session: int | None = None
        self.aid: bytes | None = None
        self.key_set: str | None = None

    @property
    def kdd(self) -> bytes:
        """The ten bytes that name the chip."""
        return self._kdd

    @property
    def session(self) -> int:
        """The HSM's number for the open session."""
        if self._session is None:
            raise Malformed("secure channel", "is not open")
        return self._session

    def open(self, aid: bytes, key_sets: tuple[str, ...], random: bytes) -> Talk[None]:
        """SELECT the application and open the channel with whichever of the key sets is alive.

        That is told by the card's cryptogram alone; a set that failed never gets to EXTERNAL AUTHENTICATE.
        `random`: CHALLENGE_BYTES for each of them. Raises OtherCard, KeysLost, CardStatus.
        """
        self.drop()
        yield from plain(gp.select(aid))
        for number, key_set in enumerate(key_sets):
            challenge = random[number * CHALLENGE_BYTES :][: self._profile.mac_bytes]
            answer = yield from plain(gp.initialize_update(0, challenge))
            kdd = gp.decode_initialize_update(answer).kdd
            if kdd != self._kdd:
                raise OtherCard(kdd.hex().upper())
            level = self._profile.security_level
            try:
                opened = self._hsm.open_session(
                    self._job, _kind_of(key_set), self._labels[key_set], kdd, 0, challenge, answer, level
                )
            except WrongCryptogram:
                continue
            self._session = opened.session
            yield from self._finish(opened.external_authenticate)
            self.aid, self.key_set = aid, key_set
            return
        raise KeysLost

    def _finish(self, external_authenticate: bytes) -> Talk[None]:
        answer = yield external_authenticate
        _checked(Ins.EXTERNAL_AUTHENTICATE, answer)
        self._hsm.unwrap(self.session, answer)

    def say(self, command: Command) -> Talk[bytes]:
        """Say a command over the channel; long data go as a chain, each block protected. Raises CardStatus."""
        blocks = split_chain(command, self._profile.block_bytes)
        if len(blocks) == 1:
            wrapped = self._hsm.wrap(self.session, command.encode())
            return _checked(command.ins, self._hsm.unwrap(self.session, (yield from whole(wrapped))))
        # All blocks are protected at once and all answers checked at once: two calls of the HSM, not two a block.
        answers: list[bytes] = []
        for one in self._hsm.wrap_chain(self.session, [block.encode() for block in blocks]):
            answers.append((yield from whole(one)))
            if not answers[-1].endswith(SUCCESS_BYTES):
                break
        data = b""
        for opened in self._hsm.unwrap_chain(self.session, answers):
            data = _checked(command.ins, opened)
        return data

    def rotate(self, master_label: str) -> Talk[None]:
        """PUT KEY: the card's own keys in the place of the transport keys."""
        yield from self.replace_keys(master_label, self._profile.card_kvn, self._profile.transport_kvn)

    def replace_keys(self, master_label: str, new_kvn: int, replace_kvn: int) -> Talk[None]:
        """PUT KEY: keys derived from this master in the place of a set that is on the card, in one step of the card."""
        wrapped = self._hsm.put_keys(self.session, master_label, self._kdd, new_kvn, replace_kvn)
        answer = yield from whole(wrapped)
        if decode_response(answer).sw != SUCCESS:
            self._hsm.unwrap(self.session, answer)
            raise CardStatus("PUT KEY", as_sw(decode_response(answer).sw))
        self._hsm.check_put_keys(self.session, answer)

    def load(self, kind: str, master_label: str | None, kvn: int | None = None) -> Talk[None]:
        """Load 9B, PUK or PIN, or verify the PIN: built and wrapped inside the HSM. `kvn`: not the product's first."""
        version = self._profile.card_kvn if kvn is None else kvn
        wrapped = self._hsm.put_secret(self.session, kind, master_label, self._kdd, version)
        answer = self._hsm.unwrap(self.session, (yield from whole(wrapped)))
        _checked(wrapped[1], answer)

    def drop(self) -> None:
        """Forget the session; the card forgets it with the next SELECT or reset."""
        session, self._session = self._session, None
        self.aid = self.key_set = None
        if session is not None:
            try:
                self._hsm.close_session(session)
            except HsmError as error:  # it ended by itself, with its error or with the HSM
                log.debug("session not closed why=%s", error)


def _kind_of(key_set: str) -> str:
    return TRANSPORT if key_set == TRANSPORT else CARD


def _checked(ins: int, answer: bytes) -> bytes:
    response = decode_response(answer)
    if response.sw != SUCCESS:
        raise CardStatus(command_name(ins), as_sw(response.sw))
    return response.data
