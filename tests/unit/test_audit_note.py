"""Signed notes and checkpoints: the published example, round trips, and everything that is not one."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from issuer.audit import note
from issuer.audit.note import Last, NoteKey
from issuer.errors import Refused

# The example of golang.org/x/mod/sumdb/note, where the format comes from.
EXAMPLE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
EXAMPLE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = NoteKey("themo/G09/audit", PRIVATE.public_key().public_bytes_raw())
OTHER = NoteKey("themo/H49/audit", KEY.public)
ROOT = bytes(range(32))
GOOD = note.sign_checkpoint(7, ROOT, KEY, PRIVATE.sign)


def test_the_published_note_is_verified() -> None:
    key = NoteKey.read(EXAMPLE_KEY)
    assert str(key) == EXAMPLE_KEY
    assert note.verify(EXAMPLE, [key]) == EXAMPLE[: EXAMPLE.index("\n\n") + 1]


def test_a_checkpoint_says_origin_size_and_root() -> None:
    assert GOOD.note.split("\n")[:4] == ["themo/G09/audit", "7", base64.b64encode(ROOT).decode(), ""]
    assert note.verify_checkpoint(GOOD.note, [KEY]) == GOOD
    assert NoteKey.read(str(KEY)) == KEY


def test_signatures_of_others_are_read_over() -> None:
    other = note.sign(GOOD.note[: GOOD.note.index("\n\n") + 1], OTHER, PRIVATE.sign)
    both = GOOD.note + other[other.index("\n\n") + 2 :]
    assert note.verify_checkpoint(both, [KEY]).size == 7
    with pytest.raises(Refused) as refused:
        note.verify_checkpoint(both, [OTHER])
    assert refused.value.code == "audit.bad_note"  # signed, but not by the log that it names


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: text.replace("\n7\n", "\n8\n"), "audit.forged_note"),
        (lambda text: text.replace("G09/audit\n", "H49/audit\n", 1), "audit.forged_note"),
        (lambda text: text.replace("\u2014 themo", "\u2014 other"), "audit.unsigned_note"),
        (lambda text: text.replace("\u2014", "-"), "audit.bad_note"),
        (lambda text: text.rstrip("\n"), "audit.bad_note"),
        (lambda text: text + "\n", "audit.bad_note"),
        (lambda text: text.replace("\n\n", "\n"), "audit.bad_note"),
        (lambda text: text.replace("7", "7\t"), "audit.bad_note"),
        (lambda text: text[:-5] + "!!!!\n", "audit.bad_note"),
        (lambda text: text + text[text.index("\u2014") :] * 16, "audit.bad_note"),
        (lambda text: "", "audit.bad_note"),
        (lambda text: "x" * 70_000, "audit.bad_note"),
    ],
)
def test_a_changed_note_is_refused(change: object, code: str) -> None:
    with pytest.raises(Refused) as refused:
        note.verify_checkpoint(change(GOOD.note), [KEY])  # type: ignore[operator]  # a list of functions
    assert refused.value.code == code


@pytest.mark.parametrize(
    "text",
    [f"{KEY.name}\n07\n{base64.b64encode(ROOT).decode()}\n", f"{KEY.name}\n7\nAAAA\n", f"{KEY.name}\n7\n", "x\n"],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        note.verify_checkpoint(note.sign(text, KEY, PRIVATE.sign), [KEY])
    assert refused.value.code == "audit.bad_note"


@pytest.mark.parametrize(
    "text", ["", "a+b", f"x{KEY}", str(KEY)[:-4], str(KEY).replace("+AQ", "+Ag"), "a b+00000000+AQ==", str(KEY) + "!"]
)
def test_a_broken_key_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        NoteKey.read(text)
    assert refused.value.code == "audit.bad_key"


LATER = note.sign_checkpoint(9, ROOT[::-1], KEY, PRIVATE.sign)
DEAD = NoteKey(KEY.name, KEY.public, Last(7, ROOT))


def test_a_dead_key_is_handed_out_with_its_last_checkpoint() -> None:
    assert str(DEAD) == f"{KEY} last=7:{base64.b64encode(ROOT).decode()}"
    assert NoteKey.read(f"{DEAD}\n") == DEAD


@pytest.mark.parametrize(
    "more", ["last=7", "last=x:AAAA", "first=7:", f"last=-1:{base64.b64encode(ROOT).decode()}", "last"]
)
def test_a_last_checkpoint_of_another_form_is_refused(more: str) -> None:
    with pytest.raises(Refused, match=r"audit\.bad_"):
        NoteKey.read(f"{KEY} {more}")


def test_a_dead_key_vouches_for_its_last_checkpoint_alone() -> None:
    assert note.verify_checkpoint(GOOD.note, [DEAD]) == GOOD
    forged = note.sign_checkpoint(7, ROOT[::-1], KEY, PRIVATE.sign)
    earlier = note.sign_checkpoint(6, ROOT, KEY, PRIVATE.sign)
    for one in (LATER, forged, earlier):
        with pytest.raises(Refused, match=r"audit\.dead_key"):
            note.verify_checkpoint(one.note, [DEAD])
    assert note.verify_checkpoint(earlier.note, [DEAD], is_held_to_log=True) == earlier
    for one in (LATER, forged):
        with pytest.raises(Refused, match=r"audit\.dead_key"):
            note.verify_checkpoint(one.note, [DEAD], is_held_to_log=True)


def test_a_living_key_beside_a_dead_one_vouches_for_what_both_signed() -> None:
    private = Ed25519PrivateKey.generate()
    new = NoteKey(KEY.name, private.public_key().public_bytes_raw())
    text, _, _ = LATER.note.partition("\n\n")
    also = note.sign(text + "\n", new, private.sign)
    both = LATER.note + also[also.index("\n\n") + 2 :]
    assert note.verify_checkpoint(both, [DEAD, new]).size == 9
