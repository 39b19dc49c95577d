"""The card's file: commits are whole or have never happened, whatever is torn, changed or full."""

import json
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from cardlink.errors import Malformed
from cardlink.piv import commands as piv
from cardlink.piv.tables import KeyRef
from cardlink.piv.templates import Authentication, EcPublicKey, decode_key_fields
from cardlink.piv.yubico import KeyMetadata, Origin, PinPolicy, decode_metadata, get_metadata
from cardos.card import Card
from cardos.errors import ImageDamaged, ImageError, ImageInUse, StoreFailed, WrongSecret
from cardos.factory import make_blank
from cardos.image import FileStore
from cardos.records import SlotKey, decode_record
from cardos.state import Persistent
from cardos.store import MemoryStore, Store

SECRET = bytes.fromhex("C0" * 32)  # made up for these tests
A, B, C = {b"a": b"1", b"b": b"22"}, {b"a": None, b"c": b"333"}, {b"d": bytes(300)}


def image(tmp_path: Path) -> Path:
    return tmp_path / "a.card"


@contextmanager
def opened(path: Path, secret: bytes = SECRET) -> Iterator[FileStore]:
    store = FileStore(path, secret)
    try:
        yield store
    finally:
        store.close()


def written(path: Path) -> list[tuple[int, dict[bytes, bytes]]]:
    """Make an image with three commits; its size and records after each."""
    steps = []
    FileStore.create(path, SECRET, A).close()
    with opened(path) as store:
        steps.append((path.stat().st_size, store.load()))
        for changes in (B, C):
            store.commit(changes)
            steps.append((path.stat().st_size, store.load()))
    return steps


def test_what_was_committed_is_there_after_opening_again(tmp_path: Path) -> None:
    steps = written(image(tmp_path))
    with opened(image(tmp_path)) as store:
        assert store.load() == steps[-1][1] == {b"b": b"22", b"c": b"333", b"d": bytes(300)}
    assert image(tmp_path).stat().st_mode & 0o777 == 0o600


def test_the_file_shows_nothing_of_the_card(tmp_path: Path) -> None:
    FileStore.create(image(tmp_path), SECRET, {b"name": b"value-in-the-clear"}).close()
    assert b"value-in-the-clear" not in image(tmp_path).read_bytes()
    assert b"name" not in image(tmp_path).read_bytes()


def test_a_file_cut_at_any_byte_holds_the_state_before_or_after_each_commit(tmp_path: Path) -> None:
    steps = written(image(tmp_path))
    raw = image(tmp_path).read_bytes()
    torn = tmp_path / "torn.card"
    for size in range(len(raw)):
        torn.write_bytes(raw[:size])
        whole = [records for end, records in steps if end <= size]
        if not whole:
            with pytest.raises(ImageDamaged):
                FileStore(torn, SECRET)
            continue
        with opened(torn) as store:
            assert store.load() == whole[-1]
            store.commit({b"after": b"tear"})
        with opened(torn) as store:
            assert store.load() == {**whole[-1], b"after": b"tear"}


def test_a_changed_bit_anywhere_is_found(tmp_path: Path) -> None:
    written(image(tmp_path))
    raw = image(tmp_path).read_bytes()
    changed = tmp_path / "changed.card"
    for at in range(len(raw)):
        changed.write_bytes(raw[:at] + bytes((raw[at] ^ (1 << at % 8),)) + raw[at + 1 :])
        with pytest.raises(ImageError):
            FileStore(changed, SECRET)


def test_a_commit_taken_out_or_moved_is_found(tmp_path: Path) -> None:
    ends = [end for end, _ in written(image(tmp_path))]
    raw = image(tmp_path).read_bytes()
    first, second, third = raw[: ends[0]], raw[ends[0] : ends[1]], raw[ends[1] :]
    for tampered in (first + third, first + third + second, first + second + second):
        image(tmp_path).write_bytes(tampered)
        with pytest.raises(ImageDamaged, match="was changed"):
            FileStore(image(tmp_path), SECRET)


def test_another_secret_and_a_short_one_do_not_open_it(tmp_path: Path) -> None:
    written(image(tmp_path))
    with pytest.raises(WrongSecret):
        FileStore(image(tmp_path), bytes(32))
    with pytest.raises(ValueError, match="at least 16"):
        FileStore(image(tmp_path), bytes(15))


def test_other_files_and_versions_are_refused_with_a_hint(tmp_path: Path) -> None:
    image(tmp_path).write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ImageDamaged, match="no card image") as caught:
        FileStore(image(tmp_path), SECRET)
    assert "cardos blank" in caught.value.hint
    image(tmp_path).write_bytes(b"THEMO-CARD\x00\x63" + bytes(100))
    with pytest.raises(ImageDamaged, match="version 99"):
        FileStore(image(tmp_path), SECRET)


def test_an_image_is_held_by_one_and_never_overwritten(tmp_path: Path) -> None:
    written(image(tmp_path))
    with opened(image(tmp_path)), pytest.raises(ImageInUse):
        FileStore(image(tmp_path), SECRET)
    with pytest.raises(FileExistsError):
        FileStore.create(image(tmp_path), SECRET, A)


def test_a_full_disk_changes_nothing_and_the_card_goes_on_when_there_is_room(tmp_path: Path) -> None:
    steps = written(image(tmp_path))
    size = image(tmp_path).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(image(tmp_path)) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
        try:
            with pytest.raises(StoreFailed):
                store.commit({b"big": bytes(1000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert image(tmp_path).stat().st_size == size
        assert store.load() == steps[-1][1]
        store.commit({b"big": bytes(1000)})
    with opened(image(tmp_path)) as store:
        assert store.load() == {**steps[-1][1], b"big": bytes(1000)}


def test_a_long_journal_is_written_anew_and_stays_locked(tmp_path: Path) -> None:
    FileStore.create(image(tmp_path), SECRET, A).close()
    with opened(image(tmp_path)) as store:
        for number in range(140):
            store.commit({b"a": bytes([number]) * 10_000})
        assert image(tmp_path).stat().st_size < 1 << 20
        with pytest.raises(ImageInUse):
            FileStore(image(tmp_path), SECRET)
        store.commit({b"last": b"one"})
    with opened(image(tmp_path)) as store:
        assert store.load() == {b"a": bytes([139]) * 10_000, b"b": b"22", b"last": b"one"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.card"]


def test_an_interrupted_rewriting_leaves_the_old_file(tmp_path: Path) -> None:
    steps = written(image(tmp_path))
    (tmp_path / "a.card.new").write_bytes(os.urandom(50))
    with opened(image(tmp_path)) as store:
        assert store.load() == steps[-1][1]


def test_a_store_that_was_closed_writes_into_no_other_card(tmp_path: Path) -> None:
    one, other = FileStore.create(image(tmp_path), SECRET, A), tmp_path / "other.card"
    one.close()
    FileStore.create(other, SECRET, A).close()
    with opened(other):  # under the number that the first file had
        before = other.read_bytes()
        with pytest.raises(StoreFailed):
            one.commit(B)
        assert other.read_bytes() == before


def test_where_no_new_file_can_be_made_the_old_one_serves_and_every_commit_counts(tmp_path: Path) -> None:
    path = image(tmp_path)
    FileStore.create(path, SECRET, A).close()
    path.with_name(path.name + ".new").mkdir()  # no file can be opened under that name
    with opened(path) as store:
        for number in range(140):
            store.commit({b"a": bytes([number]) * 10_000})
        assert path.stat().st_size > 1 << 20
    with opened(path) as store:
        assert store.load() == {b"a": bytes([139]) * 10_000, b"b": b"22"}


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_both_stores_keep_a_commit_whole(kind: str, tmp_path: Path) -> None:
    records: Mapping[bytes, bytes] = A
    store: Store = (
        MemoryStore(records) if kind == "memory" else FileStore.create(image(tmp_path), SECRET, records, sync=False)
    )
    taken = store.load()
    store.commit(B)
    assert taken == A
    assert store.load() == {b"b": b"22", b"c": b"333"}


def test_a_store_without_a_record_that_every_card_has_is_no_card() -> None:
    records = make_blank(bytes(10), (bytes(16), bytes(16), bytes(16)))
    Persistent(MemoryStore(records))
    for missing in records:
        with pytest.raises(Malformed, match="no record of"):
            Persistent(MemoryStore({name: value for name, value in records.items() if name != missing}))


def test_an_image_of_the_first_version_opens_and_serves(tmp_path: Path) -> None:
    """A card made before secure messaging, Global PIN, attestation, SCP03 options and card data were thought of."""
    vector = json.loads((Path(__file__).parent.parent / "vectors/card/image_first.json").read_text(encoding="utf-8"))
    path, secret = tmp_path / "first.card", bytes.fromhex(vector["secret"])
    path.write_bytes(bytes.fromhex(vector["image"]))
    with opened(path, secret) as store:
        card = Card(store)
        for raw in ("00A4040009A00000030800001000", "0020008008" + b"654321\xff\xff".hex()):
            assert card.transmit(bytes.fromhex(raw))[-2:] == b"\x90\x00"
        signed = card.transmit(bytes.fromhex("0087119E26" + "7C2482008120" + "00" * 32 + "00"))
        key = ec.derive_private_key(0xC0FFEE, ec.SECP256R1()).public_key()
        key.verify(signed[4:-2], bytes(32), ec.ECDSA(Prehashed(SHA256())))
        agreed = piv.general_authenticate(0x14, 0x9D, Authentication(response=b"", exponentiation=card_point(card)))
        assert card.transmit(agreed.encode())[-2:] == b"\x90\x00"
        assert card.transmit(bytes.fromhex("00CB3FFF055C035FC10200")) == bytes.fromhex("530230009000")
        # what the card did not have, it does not have now; and it can be changed and opened again
        assert card.transmit(bytes.fromhex("00F99E0000"))[-2:] == b"\x6a\x88"
        assert card.transmit(bytes.fromhex("002400801036353433" + "3231FFFF" + "373635343332FFFF"))[-2:] == b"\x90\x00"
        card.persistent.commit([SlotKey(KeyRef.ATTESTATION, 0x11, b"", Origin.IMPORTED, PinPolicy.NEVER)])
    with opened(path, secret) as store:
        after = Persistent(store)
        assert after.references[KeyRef.PIN].value == b"765432\xff\xff"
        assert sorted(after.keys) == [0x9D, 0x9E, 0xF9]


def card_point(card: Card) -> bytes:
    """The public point of 9D, asked from the card."""
    told = decode_metadata(card.transmit(get_metadata(0x9D).encode())[:-2])
    assert isinstance(told, KeyMetadata)
    public = decode_key_fields(told.public_key, told.algorithm)
    assert isinstance(public, EcPublicKey)
    return public.point


@pytest.mark.parametrize(
    ("name", "value"), [(b"", b"1"), (b"\x63\0\0\0\0", b"1"), (b"\x02\0\0\0\x09", b"1"), (b"\x03", b"")]
)
def test_a_record_that_nobody_wrote_is_malformed(name: bytes, value: bytes) -> None:
    with pytest.raises(Malformed, match="card record"):
        decode_record(name, value)
