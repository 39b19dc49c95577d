"""Any sequence of commands: a card beside a model of what SP 800-73 says it knows, compared after each of them.

The model holds what was verified, by whom, how long ago, and in which channel; what stands in the objects and slots;
the chain that came so far and the answer that waits. `./run soak card` looks for longer.
"""

import os

from card_session import VALUES, Session
from card_states import BEFORE
from card_world import blank
from fuzz_moves import Watched
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from messaging_host import tlv

from cardos.records import Kind
from cardos.state import Persistent

EXAMPLES, STEPS = (5000, 100) if "THEMO_SOAK" in os.environ else (200, 50)

ALWAYS, CERTIFICATE, GUARDED = "5FC102", "5FC105", "5FC109"
SLOTS = ("9A", "9C", "9E", "82")
PIN_SLOTS = ("9A", "82")
DIGEST = "(7C [82 [] 81 [AB*32]]) 00"
POINT = "(7C [82 [] 85 [P256]]) 00"


class CardMachine(RuleBasedStateMachine):
    """The model and the card."""

    @initialize(is_filled=st.booleans())
    def begin(self, is_filled: bool) -> None:
        self.store = Watched(blank())
        self.session = Session({}, "contact", self.store)
        self.values = {"80": "PIN", "81": "PUK"}
        self.left = {"80": 5, "81": 5}
        self.limit = {"80": 5, "81": 5}
        self.objects: dict[str, bytes] = {}
        self.keys: set[str] = set()
        self.forget()
        self.select_piv("AID")
        if is_filled:
            self.become_admin()
            for tag in (ALWAYS, CERTIFICATE, GUARDED):
                self.put(tag, 700)
            for slot in SLOTS:
                self.generate(slot)

    def forget(self) -> None:
        """What power off does."""
        self.selected = "DOMAIN"
        self.channel = ""
        self.session.channel = None
        self.clear_status()
        self.rest = b""
        self.chain = ""

    def end_channel(self) -> None:
        """What was proved inside a channel falls with it."""
        if self.channel:
            self.channel = ""
            self.session.channel = None
            self.pin, self.is_admin = self.pin and self.outside[0], self.is_admin and self.outside[1]
            self.is_challenged = False

    def clear_status(self) -> None:
        self.pin = self.is_fresh = self.is_admin = self.is_challenged = False

    @property
    def is_contact(self) -> bool:
        return self.session.face.value == "contact"

    def say(self, text: str, expected: str) -> bytes:
        """One command that is no GET RESPONSE: whatever waited or was chained is gone after it."""
        answer = self.session.say(text)
        got = answer[-2:].hex().upper()
        self.rest, self.chain, self.is_fresh = b"", "", False
        assert got == expected, f"{text} -> {got}, want {expected}"
        changed = {Kind(name[0]).name for name in self.store.changes()}
        assert got == "9000" or changed <= {"REFERENCE"}, f"{text} -> {got} changed {changed}"
        return answer[:-2]

    def refused(self, contactless: str = "6A81", *, needs_admin: bool = False) -> str:
        """Why a command that belongs to the contact interface, and perhaps to the administrator, is refused."""
        if self.selected != "PIV":
            return "6D00"
        if not self.is_contact:
            return contactless
        return "6982" if needs_admin and not (self.is_admin or self.channel == "PIV") else ""

    # --- power, faces, selection

    def select_piv(self, aid: str) -> None:
        self.say(f"clear: 00 A4 04 00 ({aid})", "9000")
        self.end_channel()
        if self.selected != "PIV":
            self.clear_status()
        self.selected = "PIV"

    @rule(
        how=st.sampled_from(["power", "face", "domain", "nobody", "A000000308", "A00000030800001000"]),
        stay=st.booleans(),
    )
    def move(self, how: str, stay: bool) -> None:
        """Away from PIV, mostly to come back at once."""
        if how == "power":
            self.session.say("power:")
            self.forget()
        elif how == "face":
            self.session.face = type(self.session.face)("contactless" if self.is_contact else "contact")
            self.forget()
            self.say("00 A4 04 00 (ISD)", "9000")
        elif how == "domain":
            self.say("clear: 00 A4 04 00 (ISD)", "9000")
            self.end_channel()
            if self.selected != "DOMAIN":
                self.clear_status()
            self.selected = "DOMAIN"
        elif how == "nobody":
            self.say("clear: 00 A4 04 00 (A000000999)", "6A82")
        else:
            self.select_piv(how)
        if not stay:
            self.select_piv("AID")

    # --- channels of SCP03

    @precondition(lambda self: self.is_contact)
    @rule()
    def open_channel(self) -> None:
        """In the application that is selected; to ask for one ends the one before."""
        self.end_channel()
        BEFORE["channel"](self.session)
        self.channel, self.outside = self.selected, (self.pin, self.is_admin)
        self.rest, self.chain, self.is_fresh = b"", "", False

    @precondition(lambda self: self.channel)
    @rule(attack=st.sampled_from(["clear: 00 FD 00 00 00", "flip: 00 FD 00 00 00", "again: 00 FD 00 00 00"]))
    def attack_the_channel(self, attack: str) -> None:
        self.say(attack, "6982" if attack.startswith("clear") else "6988")
        self.end_channel()

    # --- PIN and PUK

    def try_reference(self, ref: str, right: bool) -> str:
        """Count a try and give the status word of a wrong one, or "" for a right one."""
        if not self.left[ref]:
            return "6983"
        if right:
            self.left[ref] = self.limit[ref]
            return ""
        self.left[ref] -= 1
        return f"63C{self.left[ref]:X}"

    @rule(value=st.sampled_from(["PIN", "NEWPIN", "WRONG", "SHORT"]))
    def verify(self, value: str) -> None:
        refused = self.refused("6982")
        outcome = refused or self.try_reference("80", value == self.values["80"])
        self.say(f"00 20 00 80 ({value})", outcome or "9000")
        if not refused and outcome != "6983":
            self.pin = self.is_fresh = not outcome

    @rule()
    def ask_for_the_tries(self) -> None:
        left = self.left["80"]
        expected = self.refused("6982") or ("9000" if self.pin else f"63C{left:X}" if left else "6983")
        self.say("00 20 00 80", expected)

    @rule()
    def take_the_pin_back(self) -> None:
        refused = self.refused("6982")
        self.say("00 20 FF 80", refused or "9000")
        self.pin = self.pin and bool(refused)

    @rule(old=st.sampled_from(["PIN", "NEWPIN", "WRONG"]), new=st.sampled_from(["PIN", "NEWPIN", "SHORT"]))
    def change_pin(self, old: str, new: str) -> None:
        outcome = self.refused("6982") or ("6983" if not self.left["80"] else "6A80" if new == "SHORT" else "")
        if not outcome:
            outcome = self.try_reference("80", old == self.values["80"])
            self.pin = not outcome
            if not outcome:
                self.values["80"] = new
        self.say(f"00 24 00 80 ({old} {new})", outcome or "9000")
        self.is_fresh = not outcome

    @rule(old=st.sampled_from(["PUK", "NEWPUK", "WRONGPUK"]), new=st.sampled_from(["PUK", "NEWPUK"]))
    def change_puk(self, old: str, new: str) -> None:
        outcome = self.refused() or self.try_reference("81", old == self.values["81"])
        if not outcome:
            self.values["81"] = new
        self.say(f"00 24 00 81 ({old} {new})", outcome or "9000")

    @rule(puk=st.sampled_from(["PUK", "NEWPUK", "WRONGPUK"]), new=st.sampled_from(["PIN", "NEWPIN", "SHORT"]))
    def unblock(self, puk: str, new: str) -> None:
        refused = self.refused()
        before = self.left["81"]
        outcome = refused or self.try_reference("81", puk == self.values["81"])
        if outcome.startswith("63"):
            self.pin = False
        if not outcome and new == "SHORT":
            outcome, self.left["81"] = "6A80", before
        if not outcome:
            self.values["80"], self.left["80"] = new, self.limit["80"]
        self.say(f"00 2C 00 80 ({puk} {new})", outcome or "9000")

    # --- the administrator

    @rule()
    def ask_for_a_challenge(self) -> None:
        refused = self.refused("6982")
        self.say("00 87 0A 9B (7C [81 []]) 00", refused or "9000")
        self.is_challenged = self.is_challenged if refused else True

    @rule(right=st.booleans())
    def answer_the_challenge(self, right: bool) -> None:
        refused = self.refused("6982")
        is_proved = right and self.is_challenged
        proof = "PROOF" if right else "00*16"
        self.say(f"00 87 0A 9B (7C [82 [{proof}]])", refused or ("9000" if is_proved else "6982"))
        if not refused:
            self.is_admin, self.is_challenged = is_proved, False

    @precondition(lambda self: self.is_contact and self.selected == "PIV")
    @rule()
    def become_admin(self) -> None:
        BEFORE["admin"](self.session)
        self.rest, self.chain, self.is_fresh = b"", "", False
        self.is_admin, self.is_challenged = True, False

    # --- objects

    @rule(tag=st.sampled_from([ALWAYS, CERTIFICATE, GUARDED]), size=st.sampled_from([0, 1, 127, 200, 252, 253, 700]))
    def put(self, tag: str, size: int) -> None:
        refused = self.refused(needs_admin=True)
        is_long = size > 180
        how = "" if not is_long else "cut:" if self.channel else "chain:"
        answer = self.session.say(f"{how} 00 DB 3F FF <5C [{tag}] 53 [AB*{size}]>")
        if self.selected != "PIV" and is_long and (self.channel or size > 240):
            # the first block finds that this application has no such chain; in a channel it then is a wrong one
            refused = "6988" if self.channel else "6884"
            self.end_channel()
        elif is_long and self.channel and self.chain:
            # blocks with a MAC each came before: the next one needs its own too
            refused = "6988"
            self.end_channel()
        assert answer[-2:].hex().upper() == (refused or "9000"), answer.hex()
        self.rest, self.chain, self.is_fresh = b"", "", False
        if not refused:
            self.objects[tag] = b"\xab" * size
            if tag == CERTIFICATE and not size:
                del self.objects[tag]
        self.store.changes()

    @rule(tag=st.sampled_from([ALWAYS, CERTIFICATE, GUARDED]))
    def get(self, tag: str) -> None:
        may = self.selected == "PIV" and (tag == ALWAYS or (self.is_contact and (tag == CERTIFICATE or self.pin)))
        content = self.objects.get(tag)
        if self.selected != "PIV":
            self.say(f"00 CB 3F FF (5C [{tag}]) 00", "6D00")
        elif not may:
            self.say(f"00 CB 3F FF (5C [{tag}]) 00", "6982")
        elif content is None:
            self.say(f"00 CB 3F FF (5C [{tag}]) 00", "6A82")
        else:
            whole = tlv("53", content)
            rest = len(whole) - 256
            more = "9000" if rest <= 0 else f"61{rest if rest < 256 else 0:02X}"
            assert self.say(f"00 CB 3F FF (5C [{tag}]) 00", more) == whole[:256]
            self.rest = whole[256:]

    @rule()
    def get_response(self) -> None:
        answer = self.session.say("raw: 00 C0 00 00 00")
        self.chain, self.is_fresh = "", False
        assert answer[:-2] == self.rest[:256]
        rest = len(self.rest) - 256
        expected = "9000" if rest <= 0 else f"61{rest if rest < 256 else 0:02X}"
        assert answer[-2:].hex().upper() == (expected if self.rest else "6985")
        self.rest = self.rest[256:]

    # --- keys

    @rule(slot=st.sampled_from(SLOTS))
    def generate(self, slot: str) -> None:
        refused = self.refused(needs_admin=True)
        self.say(f"00 47 00 {slot} (AC [80 [11]]) 00", refused or "9000")
        if not refused:
            self.keys.add(slot)

    @rule(slot=st.sampled_from(SLOTS))
    def delete_key(self, slot: str) -> None:
        refused = self.refused(needs_admin=True) or ("" if slot in self.keys else "6A88")
        self.say(f"00 F6 FF {slot}", refused or "9000")
        if not refused:
            self.keys.remove(slot)

    def may_use(self, slot: str) -> str:
        if self.selected != "PIV":
            return "6D00"
        if slot not in self.keys:
            return "6A86"
        if slot == "9E":
            return ""
        is_verified = self.pin and (self.is_fresh or slot in PIN_SLOTS)
        return "" if self.is_contact and is_verified else "6982"

    @rule(slot=st.sampled_from(SLOTS))
    def use(self, slot: str) -> None:
        # behind a first block of its own kind it is the last block, and the whole is no template
        expected = self.may_use(slot) or ("6A80" if self.chain == slot else "9000")
        self.say(f"00 87 11 {slot} {POINT if slot == '82' else DIGEST}", expected)

    @rule(slot=st.sampled_from(["9A", "9C", "9E"]))
    def begin_a_chain(self, slot: str) -> None:
        """A first block: no command yet, so VERIFY still stands immediately before what it becomes."""
        is_fresh = self.is_fresh
        self.say(f"10 87 11 {slot} (7C 24 82 00)", "9000" if self.selected == "PIV" else "6884")
        if self.selected == "PIV":
            self.chain, self.is_fresh = slot, is_fresh

    @rule(slot=st.sampled_from(["9A", "9C", "9E"]))
    def end_a_chain(self, slot: str) -> None:
        expected = self.may_use(slot) or ("9000" if self.chain == slot else "6A80")
        self.say(f"00 87 11 {slot} (81 [AB*32]) 00", expected)

    # --- card management

    @rule(pin_tries=st.sampled_from([3, 5]))
    def set_tries(self, pin_tries: int) -> None:
        refused = self.refused(needs_admin=True) or ("" if self.pin else "6982")
        self.say(f"00 FA {pin_tries:02X} 04", refused or "9000")
        if not refused:
            self.limit = {"80": pin_tries, "81": 4}
            self.left = dict(self.limit)
            self.values = {"80": "PIN", "81": "PUK"}
            self.pin = False

    @rule()
    def reset(self) -> None:
        refused = self.refused() or ("6985" if any(self.left.values()) else "")
        self.say("00 FB 00 00", refused or "9000")
        if not refused:
            self.limit, self.values = {"80": 5, "81": 5}, {"80": "PIN", "81": "PUK"}
            self.left = dict(self.limit)
            self.objects, self.keys = {}, set()
            self.clear_status()

    # --- what is no command

    @rule(
        noise=st.sampled_from(
            [
                ("raw: 00 CB 3F", "6700"),
                ("raw: 00 20 00 80 09 31", "6700"),
                ("00 99 00 00", "6D00"),
                ("raw: FF 20 00 80", "6E00"),
            ]
        )
    )
    def say_nonsense(self, noise: tuple[str, str]) -> None:
        self.say(*noise)

    @invariant()
    def what_the_card_keeps_is_what_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        kept = Persistent(self.store)
        assert {ref: kept.references[int(ref, 16)].left for ref in ("80", "81")} == self.left
        assert {ref: kept.references[int(ref, 16)].value for ref in ("80", "81")} == {
            ref: VALUES[name] for ref, name in self.values.items()
        }
        assert {f"{ref:02X}" for ref in kept.keys} == self.keys
        assert {f"{tag:02X}" for tag in kept.objects} == self.objects.keys()


TestCard = CardMachine.TestCase
TestCard.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, derandomize="THEMO_SOAK" not in os.environ
)
