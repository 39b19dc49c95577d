"""A trace as people read it: commands, objects, keys and status words by their names, protection marked."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cardlink.access.door import DOOR_AID
from cardlink.access.pkoc import INS_AUTHENTICATE, PKOC_AID
from cardlink.errors import Malformed
from cardlink.gp.commands import ISD_AID
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Ins, command_name
from cardlink.iso7816.cla import CLA_TABLE, SecureMessaging
from cardlink.piv.tables import CONTAINERS, PIV_AID, RSA_BITS, Algorithm, Interface, YubicoIns
from cardos.errors import Failed
from cardos.messages.catalogue import Texts
from cardos.timing import Timing
from cardos.trace import MASK

_SELECTABLE = {PIV_AID: "piv", ISD_AID: "domain", DOOR_AID: "door", PKOC_AID: "pkoc"}
_LEVELS = ((0x01, "C-MAC"), (0x02, "C-ENC"), (0x10, "R-MAC"), (0x20, "R-ENC"))
_KEYED = frozenset((Ins.VERIFY, Ins.CHANGE_REFERENCE_DATA, Ins.RESET_RETRY_COUNTER, Ins.GENERATE_ASYMMETRIC_KEY_PAIR))
_BY_P1 = frozenset((YubicoIns.ATTEST,))
_BY_P2 = frozenset((YubicoIns.GET_METADATA, YubicoIns.IMPORT_KEY))
_WIDTH = 62


@dataclass(frozen=True, slots=True)
class Exchange:
    """One line of a trace; masked bytes are 00. `lost` says why no answer came; `event` is no exchange at all."""

    at_s: float
    card: str
    slot: str = ""
    command: bytes = b""
    answer: bytes = b""
    us: int = 0
    is_masked: bool = False
    lost: str = ""
    event: str = ""


def read_line(text: str, number: int, path: Path) -> Exchange:
    """Read one line of a trace. Raises Failed."""
    try:
        told = json.loads(text)
        answer = str(told.get("answer", ""))
        return Exchange(
            float(told["at"]), str(told["card"]), str(told.get("slot", "")), _bytes(str(told.get("command", ""))),
            _bytes(answer), int(told.get("us", 0)), MASK in answer, str(told.get("lost", "")),
            str(told.get("event", "")),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failed("trace.broken-line", path=path, number=number) from error


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(MASK, "00"))


class Transcript:
    """Says exchanges in one language, and adds up what they took."""

    def __init__(self, texts: Texts, timing: Timing | None = None) -> None:
        self._say = texts
        self._timing = timing
        self._exchanges = self._bytes = 0
        self._ours_s = self._real_s = 0.0
        self._card = ""

    def lines(self, one: Exchange) -> Iterator[str]:
        """One exchange as two lines; before the first of another card a line that names it."""
        if one.card != self._card:
            self._card = one.card
            yield self._say("trace.card", card=one.card)
        clock = datetime.fromtimestamp(one.at_s).astimezone().strftime("%H:%M:%S.%f")[:12]
        if one.event:
            yield f"{clock}  -- {self._say(f'trace.{one.event}')}"
            return
        asked = f"{self._marks(one.command)}{self.command(one.command)}"
        yield f"{clock}  → {asked:<{_WIDTH}} {len(one.command):>5} B  {self._say(f'face.{one.slot}')}"
        self._exchanges += 1
        self._bytes += len(one.command) + len(one.answer)
        self._ours_s += one.us / 1e6
        if one.lost:
            yield f"{'':12}  ← {self._say('trace.lost', why=one.lost)}"
            return
        took = f"{one.us / 1000:>8.1f} ms"
        if self._timing is not None:
            real = self._timing.exchange(one.command, one.answer, Interface(one.slot))
            self._real_s += real.total_s
            took += f"  {self._say('trace.real', ms=f'{real.total_s * 1000:.1f}')}{'*' if real.is_extrapolated else ''}"
        yield f"{'':12}  ← {self.answer(one):<{_WIDTH}} {len(one.answer):>5} B {took}"

    def total(self) -> str:
        """What all of it took."""
        said = self._say("trace.total", n=self._exchanges, bytes=self._bytes, ms=f"{self._ours_s * 1000:.1f}")
        if self._timing is not None:
            said += self._say("trace.total-real", chip=self._timing.chip, ms=f"{self._real_s * 1000:.1f}")
        return said

    def command(self, apdu: bytes) -> str:
        """A command in words: its name, then what it is about."""
        if len(apdu) < 4:
            return self._say("trace.no-command")
        ins, p1, p2, body = apdu[1], apdu[2], apdu[3], apdu[7:] if apdu[4:5] == b"\0" and len(apdu) > 7 else apdu[5:]
        about = self._about(ins, p1, p2, body)
        return f"{_name(ins)}  {about}" if about else _name(ins)

    def answer(self, one: Exchange) -> str:
        """An answer in words: the status word, and which data objects came."""
        if len(one.answer) < 2:
            return self._say("trace.no-sw")
        number = int.from_bytes(one.answer[-2:], "big")
        data = one.answer[:-2]
        shown = _outline(data) if data else ""
        if one.is_masked and not shown:
            shown = self._say("trace.masked")
        return f"{number:04X} {self.status(number)}{'  ' if shown else ''}{shown}"

    def status(self, number: int) -> str:
        """A status word in words."""
        exact = self._say.maybe(f"sw.{number:04X}")
        if exact is not None:
            return exact
        if number >> 8 in (0x61, 0x6C):
            return self._say(f"sw.{number >> 8:02X}xx", count=number & 0xFF or 256)
        if number >> 4 == 0x63C:
            return self._say("sw.63Cx", count=number & 0x0F)
        return self._say("sw.other")

    def _marks(self, apdu: bytes) -> str:
        if not apdu:
            return ""
        cla = CLA_TABLE[apdu[0]]
        mark = {
            SecureMessaging.PROPRIETARY: "[SCP03] ", SecureMessaging.ISO_HEADER: "[SM] ", SecureMessaging.ISO: "[SM] ",
        }.get(cla.secure_messaging, "")  # fmt: skip
        return mark + (self._say("trace.chained") + " " if cla.chained else "")

    def _about(self, ins: int, p1: int, p2: int, body: bytes) -> str:
        if ins == Ins.SELECT:
            return self._application(body)
        if ins in (Ins.GET_DATA, Ins.PUT_DATA) and body[:1] == b"\x5c" and len(body) > 1:
            return self._object(int.from_bytes(body[2 : 2 + body[1]], "big"))
        if ins == Ins.GENERAL_AUTHENTICATE:
            return ", ".join(filter(None, (self.key(p2), algorithm_name(p1), self._purpose(body))))
        if ins == Ins.INTERNAL_AUTHENTICATE:
            return f"{self.key(p2)}, {self._say('trace.door-challenge')}"
        if ins == Ins.VERIFY and p1 == 0xFF:
            return f"{self.key(p2)}: {self._say('trace.forget')}"
        if ins == Ins.VERIFY and not body:
            return f"{self.key(p2)}: {self._say('trace.ask')}"
        if ins == Ins.GENERATE_ASYMMETRIC_KEY_PAIR:
            at = body.find(b"\x80\x01")
            return ", ".join(
                filter(None, (self.key(p2), algorithm_name(body[at + 2]) if 0 <= at < len(body) - 2 else ""))
            )
        if ins in _KEYED:
            return self.key(p2)
        if ins in _BY_P1 or ins in _BY_P2:
            return self.key(p1 if ins in _BY_P1 else p2)
        if ins == Ins.INITIALIZE_UPDATE or ins == Ins.PUT_KEY:
            return self._say("trace.key-version", kvn=f"{p1:02X}")
        if ins == Ins.EXTERNAL_AUTHENTICATE:
            return " ".join(name for bit, name in _LEVELS if p1 & bit)
        if ins == Ins.GP_GET_DATA:
            return f"{p1 << 8 | p2:04X}"
        return f"P1 P2 {p1:02X} {p2:02X}" if p1 or p2 else ""

    def _application(self, body: bytes) -> str:
        for aid, code in _SELECTABLE.items():
            for size in (len(body), len(body) - 1):
                if size >= 5 and aid.startswith(body[:size]):
                    return self._say(f"application.{code}")
        return body.hex().upper()

    def _object(self, tag: int) -> str:
        return f"{object_name(self._say, tag)} ({tag:X})"

    def key(self, ref: int) -> str:
        """A key reference in words."""
        if 0x82 <= ref <= 0x95:
            return self._say("key.retired", ref=f"{ref:02X}")
        return self._say.maybe(f"key.{ref:02X}") or self._say("key.other", ref=f"{ref:02X}")

    def _purpose(self, body: bytes) -> str:
        if body[:1] != b"\x7c" or len(body) < 3:
            return ""
        for size in (len(body), len(body) - 1):
            try:
                inside = tlv.parse(tlv.unwrap(body[:size], 0x7C))
            except Malformed:
                continue
            said = [self._say.maybe(f"template.{tag:02X}{'' if value else '-asked'}") for tag, value in inside]
            return ", ".join(filter(None, said))
        return ""


def object_name(texts: Texts, tag: int) -> str:
    """A data object in words."""
    if 0x5FC10D <= tag <= 0x5FC120:
        return texts("object.retired", ref=f"{0x82 + tag - 0x5FC10D:02X}")
    if tag not in CONTAINERS:
        return texts("object.tool")
    return texts.maybe(f"object.{tag:X}") or CONTAINERS[tag].name


def algorithm_name(algorithm: int) -> str:
    """An algorithm as people write it."""
    try:
        known = Algorithm(algorithm)
    except ValueError:
        return f"{algorithm:02X}"
    return f"RSA-{RSA_BITS[known]}" if known in RSA_BITS else known.name.replace("_", "-")


def _name(ins: int) -> str:
    if ins == INS_AUTHENTICATE:
        return "AUTHENTICATE"
    try:
        return YubicoIns(ins).name.replace("_", " ")
    except ValueError:
        return command_name(ins)


def _outline(data: bytes) -> str:
    """The data objects of an answer, two levels deep, with their sizes; empty for what is none."""
    try:
        objects = tlv.parse(data, repeats=True)
    except Malformed:
        return ""
    parts = []
    for tag, value in objects:
        try:
            inside = (
                [f"{one:X}:{len(content)}" for one, content in tlv.parse(value, repeats=True)] if tag & 0x20 else []
            )
        except Malformed:
            inside = []
        parts.append(f"{tag:X}:{len(value)}" + (f" {{{' '.join(inside)}}}" if inside else ""))
    return " ".join(parts[:6])
