"""Any sequence of commands inside and outside secure messaging: a card beside a model of SP 800-73pt1-5 §5.5.

The model holds the session, the pairing code, the PIN and its tries; three cards differ in their PIN usage policy.
"""

import os

from card_session import VALUES, Session
from card_world import CARDS
from fuzz_moves import Watched
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from messaging_host import MessagingHost

from cardos.state import Persistent

EXAMPLES, STEPS = (3000, 80) if "THEMO_SOAK" in os.environ else (150, 40)
ALWAYS, CERTIFICATE, GUARDED = "5FC102", "5FC105", "5FC109"
NO_SESSION = "raw: 0C CB 3F FF (8E [00*8]) 00"
CONTACT_ONLY_TRIES = 2


class VciMachine(RuleBasedStateMachine):
    """The model and the card."""

    @initialize(card=st.sampled_from(["messaging", "vci", "pairing"]), face=st.sampled_from(["contact", "contactless"]))
    def begin(self, card: str, face: str) -> None:
        self.policy = card
        self.store = Watched(CARDS[card]())
        self.session = Session({}, face, self.store)
        self.left = 5
        self.forget()
        self.select()
        self.prove()

    def forget(self) -> None:
        self.is_selected = self.is_open = self.has_code = self.pin = self.is_fresh = False
        self.session.messaging = None

    def close(self) -> None:
        """The session's end, and that of what was proved in it."""
        self.is_open = self.has_code = False
        if not self.is_contact:
            self.pin = False

    @property
    def is_contact(self) -> bool:
        return self.session.face.value == "contact"

    def has_vci(self, inside: bool) -> bool:
        return inside and (self.policy == "vci" or (self.policy == "pairing" and self.has_code))

    def say(self, text: str, expected: str, *, inside: bool) -> None:
        """A command inside the session or outside it. Inside, without one, it is refused and ends what was proved."""
        self.is_fresh = False
        if inside and not self.is_open:
            text, expected, inside = NO_SESSION, "6982" if self.is_selected else "6882", False
            self.close()
        answer = self.session.say(text if inside or text.startswith("raw") else f"clear:{text}")
        got = answer[-2:].hex().upper()
        assert got == expected, f"{text} inside={inside} -> {got}, want {expected}"

    # --- power, faces, selection, sessions

    def select(self) -> None:
        self.say("00 A4 04 00 (AID)", "9000", inside=False)
        self.is_selected = True

    @rule(how=st.sampled_from(["power", "face", "again", "domain"]), stay=st.sampled_from([False, False, False, True]))
    def move(self, how: str, stay: bool) -> None:
        if how == "power":
            self.session.say("power:")
            self.forget()
        elif how == "face":
            self.session.face = type(self.session.face)("contactless" if self.is_contact else "contact")
            self.forget()
            self.say("00 A4 04 00 (ISD)", "9000", inside=False)
        elif how == "domain":
            self.say("00 A4 04 00 (ISD)", "9000", inside=False)
            if self.is_selected:
                self.pin = self.is_selected = False
                self.close()
        if not stay or how == "again":
            self.select()

    @rule()
    def establish(self) -> None:
        if not self.is_selected:
            self.select()
        self.close()
        self.session.messaging = MessagingHost(self.session.send)
        self.is_open, self.is_fresh = True, False

    @rule(broken=st.sampled_from(["(00 11*8 OFFCURVE)", "(FF 11*8 P256)"]))
    def establish_in_vain(self, broken: str) -> None:
        inside = broken.strip("()")
        text = f"00 87 27 04 (7C [81 [{inside}] 82 []]) 00"
        self.say(text, "6A80" if self.is_selected else "6D00", inside=False)
        if self.is_selected:
            self.close()

    @rule(how=st.sampled_from(["flip", "header", "nomac", "shortmac", "junk", "again"]))
    def attack(self, how: str) -> None:
        if self.is_open:
            answer = self.session.say(f"{how}: 00 CB 3F FF (5C [{ALWAYS}]) 00")
            assert answer == (b"\x69\x87" if how == "nomac" else b"\x69\x88"), answer.hex()
            self.is_fresh = False
            self.close()

    # --- what is proved

    @rule(times=st.integers(1, 4))
    def guess(self, times: int) -> None:
        for _ in range(times):
            self.verify("WRONG", True)

    @rule(value=st.sampled_from(["PIN", "PIN", "WRONG"]), inside=st.booleans())
    def verify(self, value: str, inside: bool) -> None:
        inside = inside and self.is_open
        spare = 0 if self.is_contact else CONTACT_ONLY_TRIES
        if not self.is_selected:
            self.say("00 20 00 80 (PIN)", "6D00", inside=inside)
        elif not self.is_contact and not self.has_vci(inside):
            self.say(f"00 20 00 80 ({value})", "6982", inside=inside)
        elif self.left <= spare:
            self.say(f"00 20 00 80 ({value})", "6983", inside=inside)
        elif value == "PIN":
            self.left = 5
            self.say("00 20 00 80 (PIN)", "9000", inside=inside)
            self.pin = self.is_fresh = True
        else:
            self.left -= 1
            self.say("00 20 00 80 (WRONG)", f"63C{self.left}", inside=inside)
            self.pin = False

    @rule(inside=st.booleans())
    def ask_for_the_tries(self, inside: bool) -> None:
        spare = 0 if self.is_contact else CONTACT_ONLY_TRIES
        if not self.is_selected:
            expected = "6D00"
        elif not self.is_contact and not self.has_vci(inside and self.is_open):
            expected = "6982"
        elif self.pin:
            expected = "9000"
        else:
            expected = f"63C{self.left}" if self.left > spare else "6983"
        self.say("00 20 00 80", expected, inside=inside)

    @rule(value=st.sampled_from(["CODE", "CODE", "WRONGCODE"]), inside=st.booleans())
    def show_code(self, value: str, inside: bool) -> None:
        inside = inside and self.is_open
        if not self.is_selected:
            expected = "6D00"
        elif self.policy == "messaging":
            expected = "6A88"
        elif not self.is_contact and not inside:
            expected = "6982"
        else:
            expected = "9000" if value == "CODE" else "6300"
            self.has_code = value == "CODE"
        self.say(f"00 20 00 98 ({value})", expected, inside=inside)

    @rule()
    def unblock(self) -> None:
        """So that the tries do not run out for good."""
        expected = "6D00" if not self.is_selected else "9000" if self.is_contact else "6A81"
        self.say("00 2C 00 80 (PUK PIN)", expected, inside=False)
        self.left = 5 if expected == "9000" else self.left

    @rule()
    def prove(self) -> None:
        """Everything at once, as an honest terminal does it."""
        self.establish()
        self.show_code("CODE", True)
        self.verify("PIN", True)

    # --- what it opens

    @rule(tag=st.sampled_from([ALWAYS, CERTIFICATE, GUARDED]), inside=st.booleans())
    def get(self, tag: str, inside: bool) -> None:
        is_reached = self.is_contact or self.has_vci(inside and self.is_open)
        may = tag == ALWAYS or (is_reached and (tag == CERTIFICATE or self.pin))
        expected = "6D00" if not self.is_selected else "9000" if may else "6982"
        self.say(f"00 CB 3F FF (5C [{tag}]) 00", expected, inside=inside)

    @rule(slot=st.sampled_from(["9A", "9C", "9E"]), inside=st.booleans())
    def use(self, slot: str, inside: bool) -> None:
        is_reached = self.is_contact or self.has_vci(inside and self.is_open)
        may = slot == "9E" or (is_reached and self.pin and (self.is_fresh or slot == "9A"))
        expected = "6D00" if not self.is_selected else "9000" if may else "6982"
        self.say(f"00 87 11 {slot} (7C [82 [] 81 [AB*32]]) 00", expected, inside=inside)

    @rule()
    def manage_inside(self) -> None:
        """Card management has channels of its own: secure messaging does not carry it, and the session ends."""
        if self.is_open:
            self.say("00 DB 3F FF (5C [5FC102] 53 [])", "6882", inside=True)
            self.close()

    @invariant()
    def the_tries_are_those_of_the_model(self) -> None:
        if hasattr(self, "store"):
            reference = Persistent(self.store).references[0x80]
            assert (reference.left, reference.value) == (self.left, VALUES["PIN"])


TestVci = VciMachine.TestCase
TestVci.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, derandomize="THEMO_SOAK" not in os.environ
)
