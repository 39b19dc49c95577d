"""The story, stage by stage: each does real work with the installed commands; the first thing that is wrong ends it."""

import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import zxingcpp
from PIL import Image

from demo.books import Books
from demo.console import ConsoleSession
from demo.display import Display, NotAsItShouldBe, expect
from demo.office import AGENCIES, STAFF, Office
from demo.register import Register, Row
from demo.slots import CardFile, Slots
from demo.strangers import copy_public_data, make_unknown_issuer
from demo.supervisor import ProcessFailed, Supervisor, command

DOOR = "Cửa phòng máy chủ"
WAIT_S = 15.0
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

    @property
    def _books(self) -> Books:
        return self._open_books()

    def keys(self) -> None:
        """The HSM, every key, the officers."""
        show, office = self._display, self._office
        with show.stage("stage.keys"):
            office.start_hsm()
            show.done("keys.hsm")
            told = office.make_keys()
            show.done("keys.made", count=sum(1 for line in told.splitlines() if re.fullmatch(r"\S+", line)))
            show.note("keys.embedded")
            office.add_staff()
            show.done("keys.staff", count=len(STAFF))
            office.start_feed()
            office.start_web()

    def register(self) -> None:
        """Import, return, approve; who may get no card, and why."""
        show, office = self._display, self._office
        with show.stage("stage.register"):
            register = self._register = office.write_register(datetime.now(UTC).date())
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
            front, back = self._office.draw_faces(self.issued[0].uuid)
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
            _, back = self._office.draw_faces(self.issued[3].uuid)
            (signed,) = zxingcpp.read_barcodes(Image.open(back), formats=QR)
            expect(
                signed.text.startswith(f"{self._office.console_url}/v#"), f"the plastic card's QR says {signed.text}"
            )
            show.done("faces.plastic")

    def door(self) -> None:
        """A door of the second agency; a visitor of the first one enters because a rule says so."""
        show, office = self._display, self._office
        with show.stage("stage.door"):
            own, visitor = self.issued[0], self.issued[1]
            office.add_door(DOOR, AGENCIES[1])
            office.allow(DOOR, person=_number(own.person))
            office.allow(DOOR, agency=AGENCIES[0])
            self._slots.start_door(office.place.door_config, office.feed_url)
            self._wait(lambda: self._books.confirmations() == (1, 1), "the door did not take the status feed")
            # A receipt says that the door has the feed; that it is fresh it knows from the answer to its own nonce.
            self._wait(self._door_is_ready, "the door got no answer to its nonce")
            show.done("door.enrolled", name=DOOR)
            show.done("door.rules", name=own.person.full_name, agency=AGENCIES[0])
            for one in (own, visitor):
                self._must_open(one)

    def strangers(self) -> None:
        """A clone, an unknown issuer, a card outside the rules."""
        show, office = self._display, self._office
        with show.stage("stage.strangers"):
            own, other = self.issued[0], self.issued[2]
            folder = office.place.folder
            self._slots.release(file_of(own))
            clone = copy_public_data(file_of(own), folder)
            unknown = make_unknown_issuer(AGENCIES[1], folder, datetime.now(UTC))
            self._must_refuse(clone, show.text("who.clone"), "bad-signature")
            self._must_refuse(unknown, show.text("who.unknown"), "unknown-signer")
            self._must_refuse(
                file_of(other), show.text("who.rules", name=other.person.full_name), "unknown-card", "no-rule"
            )

    def offline(self) -> None:
        """The feed is killed; the door goes on; the feed comes back and gets the door's log."""
        show = self._display
        with show.stage("stage.offline"):
            self._supervisor.kill("feed")
            show.done("offline.cut")
            self._must_open(self.issued[0])
            show.note("offline.granted")
            self._supervisor.restart("feed")
            # The start of the door and six taps, the last one made while the feed was down.
            self._wait(lambda: self._books.door_events() >= 7, "the door's log did not reach the centre")
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

            self._wait(confirmed, "the door did not confirm")
            told = console.read(f"{page}/confirmations?{query}")
            show.done(
                "block.confirmed",
                confirmed=told["confirmed"],
                total=told["total"],
                ms=(time.monotonic() - clicked) * 1000,
            )
            answer = self._slots.tap(file_of(own))
            expect(answer["decision"] == "refused" and answer["reason"] == "suspended", f"the door said {answer}")
            show.refused("door.refused", who=own.person.full_name, why=self._why(answer), reason=answer["reason"])
            show.note("block.refused", ms=(time.monotonic() - clicked) * 1000)
            place = self._books.status_place(own.uuid)
            state = console.read(f"/v/status?list={place[0]}&idx={place[1]}")["state"]
            expect(state == "blocked", f"the public page says {state}")
            show.done("block.public", state=state)
            self._revoke(console, page)
            plastic = self.issued[3]
            page = f"/cards/{self._books.card_key(plastic.uuid)}"
            console.press(page, f"{page}/block", reason="lost")
            place = self._books.status_place(plastic.uuid)
            state = console.read(f"/v/status?list={place[0]}&idx={place[1]}")["state"]
            expect(state == "blocked", f"the public page says {state} of the plastic card")
            show.done("block.plastic", name=plastic.person.full_name, state=state)

    def _revoke(self, console: ConsoleSession, page: str) -> None:
        """Thu hồi, for good, pressed in the console; the door refuses with the reason that can't be taken back."""
        show, own = self._display, self.issued[0]
        clicked = time.monotonic()
        query = console.press(page, f"{page}/revoke", reason="mất thẻ, không tìm lại được").partition("?")[2]

        def confirmed() -> bool:
            told = console.read(f"{page}/confirmations?{query}")
            return bool(told["total"]) and told["confirmed"] == told["total"]

        self._wait(confirmed, "the door did not confirm the revocation")
        answer = self._slots.tap(file_of(own))
        expect(answer["decision"] == "refused" and answer["reason"] == "revoked", f"the door said {answer}")
        show.refused("door.refused", who=own.person.full_name, why=self._why(answer), reason=answer["reason"])
        show.note("revoke.refused", ms=(time.monotonic() - clicked) * 1000)

    def books(self) -> None:
        """Every log checked by its own command."""
        show, office = self._display, self._office
        with show.stage("stage.proof"):
            show.done("proof.audit", words=office.issuer("audit", "verify").strip())
            self._check_books()
            hsm = self._supervisor.run(
                [command("hsm-sim"), "verify-log", "--log", str(office.place.folder / "data" / "hsm.store.log")]
            )
            show.done("proof.hsm", words=hsm.strip().splitlines()[-1])
            door = self._supervisor.run(
                [command("reader-daemon"), "verify-log", "--lang", show.lang, "--config", str(office.place.door_config)]
            )
            show.done("proof.door", words=door.strip().splitlines()[-1])

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

    def _up_to_date(self, agency: str) -> list[Row]:
        if self._register is None:
            raise NotAsItShouldBe("no register yet")
        faulty = self._register.faulty()
        rows = [row for row in self._register.rows if row.agency == agency and isinstance(row.citizen_number, str)]
        return [row for row in rows if row.citizen_number not in faulty]

    def _must_fail(self, act: Callable[[], object], key: str) -> None:
        try:
            act()
        except ProcessFailed as refused:
            self._display.refused(key)
            self._display.lines([_last_words(refused)])
            return
        raise NotAsItShouldBe(self._display.text(key))

    def _must_open(self, one: Issued) -> None:
        answer = self._slots.tap(file_of(one))
        expect(answer["decision"] == "granted" and answer["opened"] is True, f"the door said {answer}")
        self._display.done(
            "door.opened",
            name=one.person.full_name,
            agency=one.person.agency,
            exchanges=answer["exchanges"],
            bytes=answer["bytes_out"] + answer["bytes_in"],
            card=answer["card_ms"],
            total=answer["total_ms"],
        )

    def _must_refuse(self, card: CardFile, who: str, *reasons: str) -> None:
        answer = self._slots.tap(card)
        expect(answer["decision"] == "refused" and answer["reason"] in reasons, f"{who}: the door said {answer}")
        self._display.refused("door.refused", who=who, why=self._why(answer), reason=answer["reason"])

    def _door_is_ready(self) -> bool:
        """Has the door rules, and an answer of the centre to its own question."""
        config = str(self._office.place.door_config)
        told = json.loads(self._supervisor.run([command("reader-daemon"), "status", "--json", "--config", config]))
        return bool(told["fresh_at"]) and bool(told["bundle"])

    def _why(self, answer: dict[str, str]) -> str:
        return answer[f"text_{self._display.lang}"]

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not is_so():
            expect(time.monotonic() < deadline, what)
            time.sleep(0.005)


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
