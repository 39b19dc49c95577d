"""What goes before the commands of a row: the words of the tables, and what each of them does to a card."""

from collections.abc import Callable

from card_session import Channel, Session, put
from messaging_host import MessagingHost


def select(session: Session) -> None:
    session.must("00 A4 04 00 (AID) 00")


def verify(session: Session) -> None:
    session.must("00 20 00 80 (PIN)")


def put_long_object(session: Session) -> None:
    put(session, 0x5FC101, bytes(700))


def make_rsa_key(session: Session) -> None:
    assert session.say("00 47 00 9E (AC [80 [07]]) 00")[-2] == 0x61


def try_pin(session: Session) -> None:
    """Over contactless in the clear this verifies nothing."""
    assert session.say("00 20 00 80 (PIN)") == b"\x69\x82"


def gap(session: Session) -> None:
    """Another command, so that VERIFY does not stand immediately before what follows."""
    session.say("00 CB 3F FF (5C [5FC102]) 00")


def become_admin(session: Session) -> None:
    session.must("00 87 0A 9B (7C [81 []]) 00")
    session.must("00 87 0A 9B (7C [82 [PROOF]])")


def wrong_pin(session: Session) -> None:
    assert session.say("00 20 00 80 (WRONG)")[0] == 0x63


def wrong_puk(session: Session) -> None:
    assert session.say("00 2C 00 80 (WRONGPUK NEWPIN)")[0] == 0x63


def block_pin(session: Session) -> None:
    while session.say("00 20 00 80 (WRONG)") != b"\x69\x83":
        pass


def block_puk(session: Session) -> None:
    while session.say("00 2C 00 80 (WRONGPUK NEWPIN)") != b"\x69\x83":
        pass


def open_messaging(session: Session) -> None:
    session.messaging = MessagingHost(session.send)


def open_messaging_cs7(session: Session) -> None:
    session.messaging = MessagingHost(session.send, 0x2E)


def show_code(session: Session) -> None:
    session.must("00 20 00 98 (CODE)")


def verify_global(session: Session) -> None:
    session.must("00 20 00 00 (GLOBAL)")


def select_domain(session: Session) -> None:
    session.must("00 A4 04 00 (ISD) 00")


def select_door(session: Session) -> None:
    session.must("00 A4 04 00 (DOOR) 00")


def select_pkoc(session: Session) -> None:
    session.must("00 A4 04 00 (PKOC) 00")


def open_channel(session: Session) -> None:
    session.channel = Channel(session.send)


def add_key_set(session: Session) -> None:
    session.must("80 D8 00 81 (NEWSET) 00")


def first_block(session: Session) -> None:
    """The first block of STORE DATA, which alone does nothing."""
    session.must("80 E2 10 00 (42 04 0102)")


BEFORE: dict[str, Callable[[Session], None]] = {
    "select": select,
    "pin": verify,
    "try-pin": try_pin,
    "long-object": put_long_object,
    "rsa-9E": make_rsa_key,
    "gap": gap,
    "admin": become_admin,
    "wrong-pin": wrong_pin,
    "wrong-puk": wrong_puk,
    "pin-blocked": block_pin,
    "puk-blocked": block_puk,
    "SM": open_messaging,
    "SM7": open_messaging_cs7,
    "code": show_code,
    "global": verify_global,
    "domain": select_domain,
    "door": select_door,
    "pkoc": select_pkoc,
    "channel": open_channel,
    "second-set": add_key_set,
    "first-block": first_block,
}


def begin(session: Session, words: list[str]) -> None:
    """Do what these words say, after SELECT of PIV unless the first one begins otherwise."""
    if not words or words[0] not in ("cold", "domain", "door", "pkoc"):
        select(session)
    for word in words:
        if word != "cold":
            BEFORE[word](session)
