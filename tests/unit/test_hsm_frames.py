"""Frames: read strictly, also when one looks like the one before but for the bytes at its end."""

import socket
from collections.abc import Iterator
from typing import Any

import cbor2
import pytest

from hsm_sim import frames
from hsm_sim.errors import BadRequest
from hsm_sim.frames import FrameSocket, encode_frame, encode_tailed_frame


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, FrameSocket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, FrameSocket(theirs)


def raw_frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 4096, 4097, 70_000])
@pytest.mark.parametrize("front", [(), ("sign", "key", "card"), ("wrap", 1), (True,), ("x", 1 << 40), ("é" * 300,)])
def test_a_frame_that_ends_in_bytes_is_written_as_any_other(front: tuple[str | int, ...], size: int) -> None:
    for tail in (bytes(size), b"\xff" * size):
        assert encode_tailed_frame(tail, *front) == encode_frame([*front, tail])


@pytest.mark.parametrize("args", [["text", "sign"], [b"data", ["key"]], [7, "sign"], [memoryview(b"data"), "sign"]])
def test_what_is_of_another_type_is_written_as_it_is(args: list[Any]) -> None:
    assert encode_tailed_frame(*args) == encode_frame([*args[1:], args[0]])


def test_numbers_and_booleans_are_not_taken_for_each_other() -> None:
    for front in ((1,), (True,), (0,), (False,), ("x", 1), ("x", True)):
        written = encode_tailed_frame(b"data", *front)
        (*read, _) = cbor2.loads(written[4:])
        assert [(type(one), one) for one in read] == [(type(one), one) for one in front]


def test_frames_of_a_known_head_are_read_as_the_first_one_was(ends: tuple[socket.socket, FrameSocket]) -> None:
    ours, theirs = ends
    asked: list[list[Any]] = [
        *(["sign", "key", "card", bytes([n]) * 200] for n in range(5)),
        *(["sign", "other", "qr", bytes([n]) * 200] for n in range(3)),
        ["sign", "key", "card", b"\0" * 201],
        *(["wrap", number, b"\0" * 9] for number in (1, True, 1, 0, False)),
        ["sign", ["key"], b"x"],
        ["sign", ["key"], b"y"],
        ["load", b"secret", b"x"],
        ["load", b"Secret", b"x"],
        ["status"],
    ]
    for one in asked:
        ours.sendall(encode_frame(one))
        told = theirs.receive()
        assert [(type(item), item) for item in told] == [(type(item), item) for item in one]


def test_several_frames_at_once_and_one_in_pieces(ends: tuple[socket.socket, FrameSocket]) -> None:
    ours, theirs = ends
    one, other = encode_frame(["sign", "key", b"a" * 50]), encode_frame(["sign", "key", b"b" * 50])
    ours.sendall(one)
    assert theirs.receive()[2] == b"a" * 50
    ours.sendall(other + one + other)
    assert [theirs.receive()[2][:1] for _ in range(3)] == [b"b", b"a", b"b"]
    ours.sendall(one[:20])
    theirs._held = theirs._read()
    ours.sendall(one[20:])
    assert theirs.receive()[2] == b"a" * 50


@pytest.mark.parametrize(
    "body",
    [
        cbor2.dumps(["sign", "key"]) + b"\x18\x00",  # something behind the array
        b"\x83\x64sign\x63key\x59\x00\x28" + b"a" * 40,  # the length in two bytes where one would do
        b"\x83\x64sign\x63key\x5f\x58\x26" + b"a" * 38 + b"\xff",  # of indefinite length
        b"\x9f\x64sign\x63key\x58\x27" + b"a" * 39 + b"\xff",
        b"\xc0" + cbor2.dumps(["sign", "key", b"a" * 40]),
    ],
)
def test_what_is_not_in_its_one_form_is_refused_after_its_like_was_taken(
    ends: tuple[socket.socket, FrameSocket], body: bytes
) -> None:
    ours, theirs = ends
    for size in range(30, 60):
        ours.sendall(encode_frame(["sign", "key", b"a" * size]))
        theirs.receive()
    ours.sendall(raw_frame(body))
    with pytest.raises(BadRequest):
        theirs.receive()


def test_what_is_remembered_stays_small_and_holds_no_bytes(ends: tuple[socket.socket, FrameSocket]) -> None:
    ours, theirs = ends
    for size in range(2 * frames.SHAPES_MAX):
        ours.sendall(encode_frame(["sign", "key", bytes(size)]))
        theirs.receive()
    ours.sendall(encode_frame(["x" * 1000, b"data"]))
    theirs.receive()
    ours.sendall(encode_frame(["load", b"secret" * 5, b"data"]))
    theirs.receive()
    assert 0 < len(theirs._shapes) <= frames.SHAPES_MAX
    for head, front in theirs._shapes.values():
        assert len(head) <= frames.KNOWN_HEAD_MAX_BYTES
        assert b"secret" not in head
        assert not any(isinstance(one, bytes) for one in front)
