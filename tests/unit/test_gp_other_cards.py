"""What other cards say of themselves, as published traces show it: understood or malformed, never guessed."""

import pytest

from cardlink.errors import Malformed
from cardlink.gp import commands, inventory

# answers to SELECT, published in issues 112, 62 and 103 of github.com/martinpaljak/GlobalPlatformPro; the last two:
# without 9F65 and without A5, as the standard allows
FCIS = {
    "6F108408A000000151000000A5049F6501FF": ("A000000151000000", 255),
    "6F408407A0000001510000A535732F06072A864886FC6B01600C060A2A864886FC6B02020201630906072A864886FC6B03640B06092A8648"
    "86FC6B0403709F6501FF": ("A0000001510000", 255),
    "6F658408A000000018434D00A559734A06072A864886FC6B01600C060A2A864886FC6B02020101630906072A864886FC6B03640B06092A86"
    "4886FC6B040310650B06092B8510864864020103660C060A2B060104012A026E01029F6E061291535602009F6501FF": (
        "A000000018434D00",
        255,
    ),
    "6F0F8408A000000151000000A5039F6E00": ("A000000151000000", 255),
    "6F0A8408A000000151000000": ("A000000151000000", 255),
    "6F118408A000000151000000A5059F650203E8": ("A000000151000000", 1000),
}


@pytest.mark.parametrize("answer", FCIS)
def test_the_fci_of_other_cards_is_understood(answer: str) -> None:
    fci = commands.decode_fci(bytes.fromhex(answer))
    assert (fci.aid.hex().upper(), fci.max_command_bytes) == FCIS[answer]


@pytest.mark.parametrize("answer", ["", "6F00", "6F02A500", "6F0384A000", "7F00"])
def test_an_fci_without_a_name_is_malformed(answer: str) -> None:
    with pytest.raises(Malformed):
        commands.decode_fci(bytes.fromhex(answer))


# github.com/martinpaljak/GlobalPlatformPro: TestGPKeyInfo.java, discover-jcop4.dump
KEY_INFOS = {
    "E012C00401018810C00402018810C00403018810": [(1, 1, 0x88, 16), (2, 1, 0x88, 16), (3, 1, 0x88, 16)],
    "C00401018810C00402018810C00403018810": [(1, 1, 0x88, 16), (2, 1, 0x88, 16), (3, 1, 0x88, 16)],
    "E006C00401018810E006C00402018810": [(1, 1, 0x88, 16), (2, 1, 0x88, 16)],
    "E020C00401018820C00402018820C00403018820C0060170A180A003C00401718010": [
        (1, 1, 0x88, 32),
        (2, 1, 0x88, 32),
        (3, 1, 0x88, 32),
        (1, 0x70, 0xA1, 0x80),
        (1, 0x71, 0x80, 16),
    ],
    "E021C00401018010C00402018010C00403018010C00D0173FFA10080A0000301840100": [
        (1, 1, 0x80, 16),
        (2, 1, 0x80, 16),
        (3, 1, 0x80, 16),
        (1, 0x73, 0xA1, 128),
    ],
    "E018C00A0102FF88001001000100C00A1403FF85001001000100": [(1, 2, 0x88, 16), (0x14, 3, 0x85, 16)],
    "E000": [],
    "": [],
}


@pytest.mark.parametrize("answer", KEY_INFOS)
def test_the_key_information_of_other_cards_is_understood(answer: str) -> None:
    entries = inventory.decode_key_info(bytes.fromhex(answer))
    assert [(one.key_id, one.kvn, one.key_type, one.key_bytes) for one in entries] == KEY_INFOS[answer]


@pytest.mark.parametrize("answer", ["E005C003010188", "C1040101 8810", "C0050101881000", "C0050101FF8800", "E0C0"])
def test_broken_key_information_is_malformed(answer: str) -> None:
    with pytest.raises(Malformed):
        inventory.decode_key_info(bytes.fromhex(answer))


# github.com/kaoh/globalplatform getDataTest.c (the first and the second); the third as a YubiKey leaves its tag out
RECOGNITIONS = {
    "664D734B06072A864886FC6B01600B06092A864886FC6B020203630906072A864886FC6B03640B06092A864886FC6B040370650D060B2A8648"
    "86FC6B0507020000660C060A2B060104012A026E0103": ((3, 0x70),),
    "663F733D06072A864886FC6B01600C060A2A864886FC6B02020301630906072A864886FC6B03640B06092A864886FC6B040360640C060A2A86"
    "4886FC6B04119B06": ((3, 0x60), (0x11, 3462)),
    "732F06072A864886FC6B01600C060A2A864886FC6B02020301630906072A864886FC6B03640B06092A864886FC6B040360": ((3, 0x60),),
}


@pytest.mark.parametrize("answer", RECOGNITIONS)
def test_the_recognition_data_of_other_cards_are_understood(answer: str) -> None:
    assert inventory.decode_recognition(bytes.fromhex(answer)) == RECOGNITIONS[answer]


def test_cplc_tells_who_personalised_and_is_understood_without_its_tag() -> None:
    # github.com/martinpaljak/GlobalPlatformPro discover-jcop4.dump
    trace = bytes.fromhex("4790D60047000000000032443429762084480000000000000000150F8234323937360000000000000000")
    cplc = inventory.decode_cplc(trace)
    assert (cplc.ic_fabricator, cplc.ic_serial.hex(), cplc.ic_batch) == (0x4790, "34297620", 0x8448)
    assert cplc.pre_personaliser.hex().upper() == "150F823432393736"
    assert inventory.decode_cplc(b"\x9f\x7f\x2a" + trace) == cplc
