"""GlobalPlatform commands: what one side builds, the other parses; what is broken is refused."""

import pytest

from cardlink.errors import Malformed
from cardlink.gp import commands, inventory
from cardlink.gp.card_data import encode_dgi, parse_card_data, parse_dgis
from cardlink.gp.commands import Deletion, Fci, InitializeUpdateAnswer, LoadedKey, PutKey
from cardlink.gp.inventory import CardTag, Cplc, KeyEntry, LifeCycle, Scope, StatusEntry
from cardlink.gp.keys import encrypt_key, key_check_value
from cardlink.gp.scp03 import Level, StaticKeys
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command, decode_command

DEK = bytes(range(16))


def key_set(size: int) -> StaticKeys:
    return StaticKeys(bytes(range(1, size + 1)), bytes(range(2, size + 2)), bytes(range(3, size + 3)))


def test_select_of_the_issuer_domain_has_the_standard_bytes() -> None:
    assert commands.select().encode().hex() == "00a4040008a00000015100000000"
    fci = Fci(commands.ISD_AID, 255)
    assert fci.encode().hex() == "6f108408a000000151000000a5049f6501ff"  # as real cards answer (GlobalPlatformPro 112)
    assert commands.decode_fci(fci.encode()) == fci


def test_initialize_update_and_its_answer_are_read_back() -> None:
    command = commands.initialize_update(0x30, bytes(range(8)))
    assert command.encode().hex() == "8050300008000102030405060700"
    assert commands.parse_initialize_update(command) == (0x30, bytes(range(8)))
    for option, size, counter in ((0x60, 8, b""), (0x70, 8, b"\0\0\1"), (0x71, 16, b"\0\0\1")):
        answer = InitializeUpdateAnswer(bytes(range(10)), 0x30, option, bytes(size), bytes(size), counter)
        assert commands.decode_initialize_update(answer.encode()) == answer
        with pytest.raises(Malformed, match="INITIALIZE UPDATE answer"):
            commands.decode_initialize_update(answer.encode()[:-1])
        with pytest.raises(Malformed, match="INITIALIZE UPDATE answer"):
            commands.decode_initialize_update(answer.encode() + b"\0")


def test_a_broken_initialize_update_is_refused() -> None:
    with pytest.raises(Malformed, match="key identifier"):
        commands.parse_initialize_update(commands.initialize_update(0, bytes(8), key_id=1))
    with pytest.raises(Malformed, match="host challenge"):
        commands.parse_initialize_update(commands.initialize_update(0, bytes(7)))
    with pytest.raises(Malformed, match="SCP 03"):
        commands.decode_initialize_update(bytes(10) + b"\x30\x02" + bytes(17))


@pytest.mark.parametrize("half", [8, 16])
@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13, 0x33])
def test_external_authenticate_is_read_back_at_every_level(level: int, half: int) -> None:
    plain = commands.external_authenticate(level, b"h" * half)
    sent = Command(0x84, plain.ins, plain.p1, plain.p2, plain.data + b"m" * half)
    parsed = commands.parse_external_authenticate(sent)
    assert (parsed.level, parsed.host_cryptogram, parsed.mac) == (Level(level), b"h" * half, b"m" * half)


@pytest.mark.parametrize(
    ("p1", "p2", "size"),
    [(0x00, 0, 16), (0x02, 0, 16), (0x31, 0, 16), (0x37, 0, 16), (0x83, 0, 16), (3, 1, 16), (3, 0, 15)],
)
def test_a_broken_external_authenticate_is_refused(p1: int, p2: int, size: int) -> None:
    with pytest.raises(Malformed, match="EXTERNAL AUTHENTICATE"):
        commands.parse_external_authenticate(Command(0x84, 0x82, p1, p2, bytes(size)))


@pytest.mark.parametrize("size", [16, 24, 32])
def test_put_key_of_a_whole_set_is_read_back_and_decrypted(size: int) -> None:
    keys = key_set(size)
    sent = commands.put_key_set(keys, DEK, new_kvn=0x31, replace_kvn=0x30)
    command = decode_command(sent.encode().encode())
    assert (command.cla, command.ins, command.p1, command.p2) == (0x80, 0xD8, 0x30, 0x81)
    parsed = commands.parse_put_key(command)
    assert parsed == sent
    assert StaticKeys(*(one.decrypt(DEK) for one in parsed.keys)) == keys
    checks = [key_check_value(one) for one in (keys.enc, keys.mac, keys.dek)]
    assert parsed.answer() == b"\x31" + b"".join(checks)


def test_put_key_has_the_layout_seen_on_real_cards() -> None:
    # GlobalPlatformPro's form with the clear length: 88 11 10 <key> 03 <kcv> (kaoh/globalplatform issue 73)
    default = bytes.fromhex("404142434445464748494a4b4c4d4e4f")
    data = commands.put_key_set(StaticKeys(default, default, default), DEK, 0x30).encode().data
    one = "881110" + encrypt_key(DEK, default).hex() + "03504a77"
    assert data.hex() == "30" + 3 * one


@pytest.mark.parametrize("size", [16, 32])
def test_put_key_without_the_clear_length_is_understood_too(size: int) -> None:
    keys = key_set(size)
    three = (keys.enc, keys.mac, keys.dek)
    body = b"\x02" + b"".join(
        bytes((0x88, size)) + encrypt_key(DEK, one) + b"\x03" + key_check_value(one) for one in three
    )
    parsed = commands.parse_put_key(Command(0x80, 0xD8, 0x00, 0x81, body))
    assert [one.decrypt(DEK) for one in parsed.keys] == list(three)


def test_a_key_with_a_wrong_check_value_is_refused() -> None:
    key = bytes(range(16))
    with pytest.raises(Malformed, match="check value"):
        LoadedKey(encrypt_key(DEK, key), 16, b"\0\0\0").decrypt(DEK)
    assert LoadedKey(encrypt_key(DEK, key), 16, b"").decrypt(DEK) == key


GOOD = PutKey(0, 0x31, 1, (LoadedKey(bytes(16), 16, b"kcv"),)).encode().data


@pytest.mark.parametrize(
    ("p1", "p2", "data"),
    [
        (0x00, 0x01, b""),
        (0x00, 0x01, b"\x31"),
        (0x00, 0x01, b"\x00" + GOOD[1:]),
        (0x00, 0x01, b"\x80" + GOOD[1:]),
        (0x80, 0x01, GOOD),  # more PUT KEY commands would follow
        (0x00, 0x81, GOOD),  # says several keys, carries one
        (0x00, 0x01, GOOD + GOOD[1:]),  # says one key, carries two
        (0x00, 0x01, GOOD[:-1]),
        (0x00, 0x01, GOOD[:2]),
        (0x00, 0x01, GOOD + b"\x88"),
        (0x00, 0x01, b"\x31\x80" + GOOD[2:]),  # DES
        (0x00, 0x01, b"\x31\x88\x11\x18" + GOOD[4:]),  # AES-192 in one block
        (0x00, 0x01, b"\x31\x88\x11\x05" + GOOD[4:]),
        (0x00, 0x01, b"\x31\x88\x08" + bytes(8) + b"\x00"),
        (0x00, 0x01, GOOD[:20] + b"\x02kc"),
    ],
)
def test_a_broken_put_key_is_refused(p1: int, p2: int, data: bytes) -> None:
    with pytest.raises(Malformed, match="PUT KEY"):
        commands.parse_put_key(Command(0x80, 0xD8, p1, p2, data))


def test_store_data_is_read_back() -> None:
    command = commands.store_data(b"abc", 2, is_last=True, structure=0x08)
    assert (command.p1, command.p2) == (0x88, 2)
    parsed = commands.parse_store_data(command)
    assert (parsed.data, parsed.block, parsed.is_last, parsed.structure) == (b"abc", 2, True, 0x08)
    with pytest.raises(Malformed, match="STORE DATA"):
        commands.parse_store_data(Command(0x80, 0xE2, 0x02, 0, b""))


@pytest.mark.parametrize("tag", list(CardTag))
def test_get_data_carries_its_tag_in_p1_and_p2(tag: CardTag) -> None:
    assert inventory.parse_get_data(inventory.get_data(tag)) == tag


def test_get_data_with_data_is_refused() -> None:
    with pytest.raises(Malformed, match="GET DATA"):
        inventory.parse_get_data(Command(0x80, 0xCA, 0, 0x66, b"x"))


def test_key_information_is_read_back() -> None:
    entries = tuple(KeyEntry(key_id, 0x30, key_bytes=32) for key_id in (1, 2, 3))
    encoded = inventory.encode_key_info(entries)
    assert encoded.hex() == "e012c00401308820c00402308820c00403308820"
    assert inventory.decode_key_info(encoded) == entries
    for broken in ("e006c0040130882000", "e004c1020130", "e005c003013088"):
        with pytest.raises(Malformed):
            inventory.decode_key_info(bytes.fromhex(broken))


def test_recognition_data_name_scp03_and_its_option() -> None:
    encoded = inventory.encode_recognition(0x70)
    assert inventory.decode_recognition(encoded) == ((3, 0x70),)
    # SCP02 option 55: a trace published in github.com/chenpengcong/blog issue 31
    trace = (
        "663d733b06072a864886fc6b01600b06092a864886fc6b020202630906072a864886fc6b0364"
        "0b06092a864886fc6b040255640b06092a864886fc6b048000"
    )
    assert inventory.decode_recognition(bytes.fromhex(trace)) == ((2, 0x55), (0x80, 0))
    with pytest.raises(Malformed, match="recognition"):
        inventory.decode_recognition(bytes.fromhex("6602" + "7300"))
    with pytest.raises(Malformed, match="protocol"):
        inventory.decode_recognition(encoded.replace(bytes.fromhex("6b0403"), bytes.fromhex("6b0503")))


def test_cplc_is_read_back_and_a_published_one_is_understood() -> None:
    cplc = Cplc(0x1234, 0x5678, 0x9ABC, b"\x01\x02\x03\x04", 0x0506)
    assert inventory.decode_cplc(cplc.encode()) == cplc
    # published in github.com/martinpaljak/GlobalPlatformPro issue 112
    trace = "9f7f2a47906a1582314176009661330000114a1424114261331143613311446133130b00000000000000000000"
    assert inventory.decode_cplc(bytes.fromhex(trace)).ic_fabricator == 0x4790
    with pytest.raises(Malformed, match="42 bytes"):
        inventory.decode_cplc(bytes.fromhex("9f7f0100"))


def test_get_status_and_its_answer_are_read_back() -> None:
    command = inventory.get_status(Scope.ISSUER_DOMAIN)
    assert command.encode().hex() == "80f28002024f0000"
    query = inventory.parse_get_status(command)
    assert (query.scope, query.aid, query.is_next) == (Scope.ISSUER_DOMAIN, b"", False)
    assert inventory.parse_get_status(inventory.get_status(Scope.APPLICATIONS, b"\xa0\0\0", True)).is_next
    tags = Command(0x80, 0xF2, 0x20, 0x02, bytes.fromhex("4f0212345c054f9f70c5"))
    with pytest.raises(Malformed):  # the tag list of this published command is cut short
        inventory.parse_get_status(tags)
    entries = (StatusEntry(commands.ISD_AID, LifeCycle.SECURED, b"\x9e\xfe\x80"), StatusEntry(b"\xa0" * 5, 7))
    assert inventory.decode_status(inventory.encode_status(entries)) == entries


@pytest.mark.parametrize(
    ("p1", "p2", "data"),
    [
        (0x80, 0x04, "4f00"),
        (0x81, 0x02, "4f00"),
        (0x60, 0x02, "4f00"),
        (0x80, 0x02, ""),
        (0x80, 0x02, "5c00"),
        (0x80, 0x02, "4f00c500"),
        (0x80, 0x02, "4f005c014fc500"),
        (0x80, 0x00, "4f005c014f"),  # a tag list is not for the deprecated form
    ],
)
def test_a_broken_get_status_is_refused(p1: int, p2: int, data: str) -> None:
    with pytest.raises(Malformed, match="GET STATUS"):
        inventory.parse_get_status(Command(0x80, 0xF2, p1, p2, bytes.fromhex(data)))


@pytest.mark.parametrize("answer", ["c500", "e3024f00", "e30a4f019f70030f0f0fc500"])
def test_a_broken_status_entry_is_refused(answer: str) -> None:
    with pytest.raises(Malformed):
        inventory.decode_status(bytes.fromhex(answer))


def test_set_status_is_read_back() -> None:
    command = inventory.set_status(Scope.ISSUER_DOMAIN, LifeCycle.SECURED, commands.ISD_AID)
    assert inventory.parse_set_status(command) == (Scope.ISSUER_DOMAIN, LifeCycle.SECURED, commands.ISD_AID)
    with pytest.raises(Malformed, match="SET STATUS"):
        inventory.parse_set_status(Command(0x80, 0xF0, 0x20, 0x0F, b""))


def test_the_capability_information_names_protocol_option_and_key_lengths() -> None:
    assert inventory.encode_capability(0x70).hex().upper() == "670BA009800103810170820107"


def test_the_deprecated_form_of_get_status_is_read_back() -> None:
    entries = (StatusEntry(commands.ISD_AID, LifeCycle.SECURED, b"\x9e"), StatusEntry(b"\xa0" * 5, 7, b"\0"))
    encoded = inventory.encode_old_status(entries)
    assert encoded.hex() == "08a0000001510000000f9e" + "05a0a0a0a0a00700"
    assert inventory.decode_old_status(encoded) == entries
    for broken in (encoded[:-1], b"\x04" + encoded[1:], b"\x11" + encoded[1:]):
        with pytest.raises(Malformed, match="GET STATUS"):
            inventory.decode_old_status(broken)
    query = inventory.parse_get_status(Command(0x80, 0xF2, 0x40, 0x01, bytes.fromhex("4f02a000")))
    assert (query.is_tlv, query.is_next, query.aid) == (False, True, b"\xa0\x00")


def test_a_tag_list_chooses_what_get_status_tells() -> None:
    command = inventory.get_status(Scope.APPLICATIONS, tags=bytes.fromhex("4f9f70cc"))
    query = inventory.parse_get_status(command)
    assert query.tags == (0x4F, 0x9F70, 0xCC)
    entry = StatusEntry(b"\xa0" * 5, 7, b"\0\0\0", commands.ISD_AID)
    assert inventory.encode_status([entry], (0xCC, 0x4F)).hex() == "e3114f05a0a0a0a0a0cc08a000000151000000"
    assert inventory.encode_status([entry]).hex() == "e3104f05a0a0a0a0a09f700107c503000000"
    assert inventory.decode_status(inventory.encode_status([entry], query.tags))[0].domain == commands.ISD_AID
    for broken in ("9f", "4f9f", "00"):
        with pytest.raises(Malformed, match="tag list"):
            inventory.parse_tag_list(bytes.fromhex(broken))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("d20130", Deletion(b"", 0x30, 0)),
        ("d00101d20130", Deletion(b"", 0x30, 1)),
        ("d20130d00101", Deletion(b"", 0x30, 1)),
        ("d00101", Deletion(b"", 0, 1)),
        ("4f08a000000308000010", Deletion(bytes.fromhex("a000000308000010"))),
    ],
)
def test_delete_names_keys_or_an_application(data: str, expected: Deletion) -> None:
    assert commands.parse_delete(Command(0x80, 0xE4, 0, 0, bytes.fromhex(data))) == expected


@pytest.mark.parametrize("data", ["", "d200", "d2023001", "c00101", "4f00d20130", "d20130d20131"])
def test_a_broken_delete_is_malformed(data: str) -> None:
    with pytest.raises(Malformed):
        commands.parse_delete(Command(0x80, 0xE4, 0, 0, bytes.fromhex(data)))


def test_deleting_a_set_is_one_command() -> None:
    assert commands.delete_key_set(0x31).encode().hex() == "80e4000003d2013100"


def test_card_data_come_as_tlv_and_inside_dgis() -> None:
    wanted = {0x42: b"iin", 0x45: b"cin"}
    plain = tlv.encode_all(wanted.items())
    assert parse_card_data(plain, is_dgi=False) == wanted
    assert parse_card_data(encode_dgi(0x0070, plain), is_dgi=True) == wanted
    # as GlobalPlatformPro sends the parts of CPLC: the same bytes are TLV and a DGI
    perso = bytes.fromhex("9F66081122334455667788")
    for is_dgi in (False, True):
        assert parse_card_data(perso, is_dgi=is_dgi) == {0x9F66: bytes.fromhex("1122334455667788")}


def test_a_dgi_has_a_length_of_one_byte_or_of_three() -> None:
    for size in (0, 1, 254, 255, 1000):
        assert parse_dgis(encode_dgi(0x8010, bytes(size)) * 2) == [(0x8010, bytes(size))] * 2
    for broken in ("0070", "007001", "0070ff", "0070ff0001aa", "0070ff00feaa", "007002aa"):
        with pytest.raises(Malformed, match="DGI"):
            parse_dgis(bytes.fromhex(broken))


@pytest.mark.parametrize("data", ["", "4200", "4201aa4201bb", "9f660711223344556677", "42" + "11" + 17 * "aa"])
def test_broken_card_data_are_malformed(data: str) -> None:
    with pytest.raises(Malformed):
        parse_card_data(bytes.fromhex(data), is_dgi=False)


@pytest.mark.parametrize(
    ("p1", "is_dgi", "is_encrypted"),
    [(0x80, False, False), (0x90, False, False), (0x91, False, False), (0x88, True, False), (0xE0, False, True)],
)
def test_store_data_says_what_its_data_are(p1: int, is_dgi: bool, is_encrypted: bool) -> None:
    parsed = commands.parse_store_data(Command(0x80, 0xE2, p1, 0, b""))
    assert (parsed.is_dgi, parsed.is_encrypted, parsed.is_last) == (is_dgi, is_encrypted, True)
    with pytest.raises(Malformed):
        commands.parse_store_data(Command(0x80, 0xE2, p1 | 0x18, 0, b""))
