"""The story, stage by stage: each does real work with the installed commands; the first thing that is wrong ends it."""

import re
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import zxingcpp
from PIL import Image

from demo.books import Books
from demo.console import ConsoleSession
from demo.display import Display, NotAsItShouldBe, expect
from demo.gate import Gate, wait_until
from demo.office import AGENCIES, STAFF, Office
from demo.register import Register, Row
from demo.slots import CardFile, Slots
from demo.strangers import (
    PlasticCard,
    copy_public_data,
    make_chip_for_plastic,
    make_chip_with_qr,
    make_unknown_issuer,
)
from demo.supervisor import ProcessFailed, Supervisor

DOOR = "Cửa phòng máy chủ"
QR = zxingcpp.barcode_formats_from_str("QRCode")
"""Asked for alone: lines of a face can look like a linear code of two or three digits."""
SIGNED_QR_MM = 20.0
READER_MM = 0.1
"""How far the foreign reader's corners may lie inside the code: two dots."""
FITNESS = re.compile(r"(\d+)\D+(\d+)")


@dataclass(slots=True)
class Issued:
    """Somebody with a card: the row of the register, the card's UUID, its file where it has a chip."""

    person: Row
    uuid: str
    file: CardFile | None


class Story:
    """What the stages hand on to each other."""

    def __init__(
        self, display: Display, office: Office, supervisor: Supervisor, slots: Slots, books: Callable[[], Books]
    ) -> None:
        self._display = display
        self._office = office
        self._supervisor = supervisor
        self._slots = slots
        self._open_books = books
        self._register: Register | None = None
        self.issued: list[Issued] = []
        self._requests: list[str] = []
        self._plastic_qr = ""
        self._gate = Gate(display, office, supervisor, slots)

    @property
    def _books(self) -> Books:
        return self._open_books()

    def keys(self) -> None:
        """The HSM, every key, the officers."""
        show, office = self._display, self._office
        with show.stage("stage.keys"), ThreadPoolExecutor(max_workers=3) as others:
            # Another office draws up its sheet and the portraits meanwhile.
            writing = others.submit(office.write_register, datetime.now(UTC).date())
            opened = office.start_hsm()
            show.done(opened.text)
            show.lines(opened.lines)
            told = office.make_keys()
            show.done("keys.made", count=sum(1 for line in told.splitlines() if re.fullmatch(r"\S+", line)))
            show.note("keys.embedded")
            starting = [others.submit(start) for start in (office.start_feed, office.start_web)]
            office.add_staff()
            show.done("keys.staff", count=len(STAFF))
            for one in starting:
                one.result()
            self._register = writing.result()

    def register(self) -> None:
        """Import, return, approve; who may get no card, and why."""
        show, office = self._display, self._office
        with show.stage("stage.register"):
            register = self._sheet()
            show.done("register.sheet", photos=len(register.rows) - len(register.no_photo))
            first = office.import_sheet(confirm_zeros=False)
            shown = [line.strip() for line in first.splitlines() if "→" in line]
            expect(len(shown) == len(register.robbed), "the numbers without zeros were not shown")
            show.refused("register.zeros", count=len(shown))
            show.lines(shown[:3])
            second = office.import_sheet(confirm_zeros=True)
            expect(f" {len(register.rows) - len(register.wrong)} " in second, f"import: {second}")
            expect(office.place.returned.exists(), "no sheet with the wrong rows")
            show.refused("register.returned", count=len(register.wrong))
            show.lines([line.strip() for line in second.splitlines() if line.startswith("      ") and "→" not in line])
            office.approve_records()
            show.done("register.approved")
            told = office.freshness().strip().splitlines()
            counted = FITNESS.search(told[-1])
            stale = len(register.stale) + len(register.unattested) + len(register.no_photo)
            expect(counted is not None and int(counted[2]) == stale, f"freshness: {told[-1]}")
            show.done("register.stale", fit=counted[1] if counted else "?", stale=stale)
            show.lines([re.sub(r"\s{2,}", "  ", line) for line in told[:-1]][:4])
            self._must_fail(lambda: office.request_cards([(register.stale[0], "chip")]), "register.no_card")

    def request(self) -> None:
        """Three chip cards and a plastic one."""
        show, office = self._display, self._office
        with show.stage("stage.request"):
            own, second, plastic = self._up_to_date(AGENCIES[1])[:3]
            visitor = self._up_to_date(AGENCIES[0])[0]
            people = [own, visitor, second, plastic]
            forms = ["chip", "chip", "chip", "plastic"]
            self._requests = office.request_cards(
                [(_number(row), form) for row, form in zip(people, forms, strict=True)]
            )
            self._must_fail(lambda: office.issuer("cards", "approve", self._requests[0], by="to.chuc"), "request.own")
            office.approve_requests()
            blanks = [office.blank(name) for name in ("the-1", "the-2", "the-3")]
            office.add_stock(blanks)
            uuids = office.allocate(self._requests, [*(blank.serial for blank in blanks), None])
            self.issued = [
                Issued(row, uuid, file) for row, uuid, file in zip(people, uuids, [*blanks, None], strict=True)
            ]
            show.done("request.done")
            show.note("request.jobs" if office.has_allocator else "request.no_jobs")

    def encode(self, tear_at: int | None, is_pcsc: bool) -> None:
        """Encode the chip cards; the first one may be pulled at one exchange."""
        show, office = self._display, self._office
        with show.stage("stage.encode"):
            if is_pcsc:
                show.done("encode.carrier")
            for number, one in enumerate(self._chips()):
                show.doing("encode.doing", name=one.person.full_name)
                started = time.monotonic()
                words = self._encode(one, tear_at if number == 0 else None)
                exchanges, sent, received = (int(one) for one in re.findall(r"\d+", words)[-3:])
                show.done(
                    "encode.done",
                    name=one.person.full_name,
                    exchanges=exchanges,
                    bytes=sent + received,
                    seconds=time.monotonic() - started,
                )
            show.note("encode.steps")
            if tear_at is not None:
                self._check_books()
            office.activate([one.uuid for one in self.issued])
            show.done("encode.active")

    def faces(self) -> None:
        """Both faces, their QR codes read by a reader that is not ours."""
        show = self._display
        with show.stage("stage.faces"):
            (front, back), (_, plastic_back) = self._office.draw_faces([self.issued[0].uuid, self.issued[3].uuid])
            show.done("faces.drawn", front=front, back=back)
            (plain,) = zxingcpp.read_barcodes(Image.open(front), formats=QR)
            expect(self.issued[0].person.full_name in plain.text, f"front QR says {plain.text}")
            show.done("faces.plain", text=plain.text)
            image = Image.open(back)
            (signed,) = zxingcpp.read_barcodes(image, formats=QR)
            expect(signed.text.startswith(f"{self._office.console_url}/v#"), f"back QR says {signed.text}")
            wide_mm = (signed.position.top_right.x - signed.position.top_left.x) / image.info["dpi"][0] * 25.4
            expect(wide_mm >= SIGNED_QR_MM - READER_MM, f"the signed QR is {wide_mm:.1f} mm wide")
            show.done("faces.signed", mm=wide_mm, text=signed.text[:44])
            (signed,) = zxingcpp.read_barcodes(Image.open(plastic_back), formats=QR)
            expect(
                signed.text.startswith(f"{self._office.console_url}/v#"), f"the plastic card's QR says {signed.text}"
            )
            self._plastic_qr = signed.text
            show.done("faces.plastic", name=self.issued[3].person.full_name)

    def door(self) -> None:
        """A door of the second agency; a visitor of the first one enters because a rule says so."""
        show, office = self._display, self._office
        with show.stage("stage.door"):
            own, visitor, plastic = self.issued[0], self.issued[1], self.issued[3]
            office.add_door(DOOR, AGENCIES[1])
            office.allow(DOOR, people=[_number(own.person), _number(plastic.person)], agency=AGENCIES[0])
            self._gate.start()
            wait_until(lambda: self._books.confirmations() == (1, 1), "the door did not take the status feed")
            # A receipt says that the door has the feed; that it is fresh it knows from the answer to its own nonce.
            wait_until(self._door_is_ready, "the door got no answer to its nonce")
            show.done("door.enrolled", name=DOOR)
            show.done("door.rules", name=own.person.full_name, plastic=plastic.person.full_name, agency=AGENCIES[0])
            for one in (own, visitor):
                self._gate.must_open(one.person.full_name, one.person.agency, file_of(one))

    def strangers(self) -> None:
        """A clone, an unknown issuer, a card outside the rules, and all that can be made of a plastic card."""
        show, office = self._display, self._office
        with show.stage("stage.strangers"):
            own, other = self.issued[0], self.issued[2]
            folder = office.place.folder
            self._slots.release(file_of(own))
            clone = copy_public_data(file_of(own), folder)
            unknown = make_unknown_issuer(AGENCIES[1], folder, datetime.now(UTC))
            self._gate.must_refuse(clone, show.text("who.clone"), "bad-signature")
            self._gate.must_refuse(unknown, show.text("who.unknown"), "unknown-signer")
            self._gate.must_refuse(
                file_of(other), show.text("who.rules", name=other.person.full_name), "unknown-card", "no-rule"
            )
            self._refuse_plastic()

    def _refuse_plastic(self) -> None:
        """No door opens to a plastic card: it has no key that a door could know, and a chip made up for it is refused.

        Its holder may enter by a rule, so that nothing but the missing chip keeps the door shut.
        """
        show, own, plastic = self._display, self.issued[0], self.issued[3]
        expect(self._books.has_key(own.uuid), "the centre knows no key of a chip card")
        expect(not self._books.has_key(plastic.uuid), "the centre knows a key of a plastic card")
        ((seq, listed),) = self._books.bundles()
        expect(self._gate.status()["bundle"] == seq, f"the door does not hold its bundle {seq}")
        expect(UUID(own.uuid) in listed, "the bundle does not list the chip card that may enter")
        expect(UUID(plastic.uuid) not in listed, "the bundle lists a plastic card")
        show.refused("plastic.nothing", seq=seq, count=len(listed))
        known = PlasticCard(
            self._plastic_qr, plastic.person.agency, UUID(plastic.uuid), *self._books.status_place(plastic.uuid)
        )
        folder = self._office.place.folder
        self._gate.must_refuse(make_chip_with_qr(known, folder), show.text("who.qr"), "malformed-credential")
        self._slots.release(file_of(own))
        forged = make_chip_for_plastic(known, file_of(own), folder)
        self._gate.must_refuse(forged, show.text("who.plastic"), "forged-statement")

    def offline(self) -> None:
        """The feed is killed; the door goes on; the feed comes back and gets the door's log."""
        show, own = self._display, self.issued[0]
        with show.stage("stage.offline"):
            self._supervisor.kill("feed")
            show.done("offline.cut")
            self._gate.must_open(own.person.full_name, own.person.agency, file_of(own))
            show.note("offline.granted")
            self._supervisor.restart("feed")
            # The start of the door and every tap, the last one made while the feed was down.
            wait_until(
                lambda: self._books.door_events() >= 1 + self._gate.taps, "the door's log did not reach the centre"
            )
            show.done("offline.back", count=self._books.door_events())

    def block(self) -> None:
        """Khóa thẻ in the console, and the door that refuses."""
        show, office, own = self._display, self._office, self.issued[0]
        with show.stage("stage.block"):
            console = ConsoleSession(office.console_url)
            console.accept(office.invite("cap.the"), secrets.token_urlsafe(24))
            key = self._books.card_key(own.uuid)
            page = f"/cards/{key}"
            clicked = time.monotonic()
            led_to = console.press(page, f"{page}/block", reason="lost")
            show.done("block.clicked")
            query = led_to.partition("?")[2]

            def confirmed() -> bool:
                told = console.read(f"{page}/confirmations?{query}")
                return bool(told["total"]) and told["confirmed"] == told["total"]

            wait_until(confirmed, "the door did not confirm")
            told = console.read(f"{page}/confirmations?{query}")
            show.done(
                "block.confirmed",
                confirmed=told["confirmed"],
                total=told["total"],
                ms=(time.monotonic() - clicked) * 1000,
            )
            self._gate.must_refuse(file_of(own), own.person.full_name, "suspended")
            show.note("block.refused", ms=(time.monotonic() - clicked) * 1000)
            place = self._books.status_place(own.uuid)
            state = console.read(f"/v/status?list={place[0]}&idx={place[1]}")["state"]
            expect(state == "blocked", f"the public page says {state}")
            show.done("block.public")
            self._revoke(console, page)
            plastic = self.issued[3]
            page = f"/cards/{self._books.card_key(plastic.uuid)}"
            console.press(page, f"{page}/block", reason="lost")
            place = self._books.status_place(plastic.uuid)
            state = console.read(f"/v/status?list={place[0]}&idx={place[1]}")["state"]
            expect(state == "blocked", f"the public page says {state} of the plastic card")
            show.done("block.plastic", name=plastic.person.full_name)

    def _revoke(self, console: ConsoleSession, page: str) -> None:
        """Thu hồi, for good, pressed in the console; the door refuses with the reason that can't be taken back."""
        show, own = self._display, self.issued[0]
        clicked = time.monotonic()
        query = console.press(page, f"{page}/revoke", reason="mất thẻ, không tìm lại được").partition("?")[2]

        def confirmed() -> bool:
            told = console.read(f"{page}/confirmations?{query}")
            return bool(told["total"]) and told["confirmed"] == told["total"]

        wait_until(confirmed, "the door did not confirm the revocation")
        self._gate.must_refuse(file_of(own), own.person.full_name, "revoked")
        show.note("revoke.refused", ms=(time.monotonic() - clicked) * 1000)

    def books(self) -> None:
        """Every log checked by its own command."""
        show, office = self._display, self._office
        with show.stage("stage.proof"):
            show.done("proof.audit", words=office.issuer("audit", "verify").strip())
            self._check_books()
            text, words = office.check_hsm()
            show.done(text, words=words)
            show.done("proof.door", words=self._gate.log_words())

    def _encode(self, one: Issued, tear_at: int | None) -> str:
        if tear_at is None:
            return self._slots.encode(file_of(one), one.uuid)
        show = self._display
        try:
            words = self._slots.encode(file_of(one), one.uuid, tear_at)
        except ProcessFailed as torn:
            show.refused("encode.torn", n=tear_at, why=_last_words(torn))
        else:
            show.note("encode.whole", n=tear_at, exchanges=words)
            return words
        try:
            words = self._slots.encode(file_of(one), one.uuid)
        except ProcessFailed as spoiled:
            show.refused("encode.spoiled")
            show.lines([_last_words(spoiled)])
            return self._replace_blank(one)
        show.done("encode.resumed")
        return words

    def _replace_blank(self, one: Issued) -> str:
        """The request of a spoiled card waits for another blank."""
        request = self._requests[self.issued.index(one)]
        expect(self._books.live_card_of(request) is None, "a spoiled card counts still")
        blank = self._office.blank("the-thay")
        self._office.add_stock([blank])
        (one.uuid,) = self._office.allocate([request], [blank.serial])
        one.file = blank
        return self._slots.encode(blank, one.uuid)

    def _check_books(self) -> None:
        wrong = self._books.contradictions()
        expect(not wrong, "; ".join(wrong))
        self._display.done("encode.consistent")

    def _chips(self) -> list[Issued]:
        return [one for one in self.issued if one.file is not None]

    def _sheet(self) -> Register:
        if self._register is None:
            raise NotAsItShouldBe("no register yet")
        return self._register

    def _up_to_date(self, agency: str) -> list[Row]:
        register = self._sheet()
        faulty = register.faulty()
        rows = [row for row in register.rows if row.agency == agency and isinstance(row.citizen_number, str)]
        return [row for row in rows if row.citizen_number not in faulty]

    def _must_fail(self, act: Callable[[], object], key: str) -> None:
        try:
            act()
        except ProcessFailed as refused:
            self._display.refused(key)
            self._display.lines([_last_words(refused)])
            return
        raise NotAsItShouldBe(self._display.text(key))

    def _door_is_ready(self) -> bool:
        """Has the door rules, and an answer of the centre to its own question."""
        told = self._gate.status()
        return bool(told["fresh_at"]) and told["bundle"] == max(seq for seq, _ in self._books.bundles())


def file_of(one: Issued) -> CardFile:
    """The chip card somebody has."""
    if one.file is None:
        raise NotAsItShouldBe(f"{one.person.full_name} has no chip card")
    return one.file


def _number(row: Row) -> str:
    return str(row.citizen_number)


def _last_words(failed: ProcessFailed) -> str:
    """What a command said of its failure, without the command."""
    said = [line for line in str(failed).splitlines() if "error:" in line]
    return (said[-1].partition("error:")[2] if said else str(failed).splitlines()[-1]).strip()
