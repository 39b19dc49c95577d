"""The rows of the PIV standard, held against each other and against figures from the standard."""

import pytest

from cardlink.piv.tables import (
    BLOCK_BYTES,
    CARD_CREDENTIAL,
    CHUID,
    CONTAINERS,
    FACIAL_IMAGE,
    IDENTITY_STATEMENT,
    KEYS,
    KEYS_THAT_GENERATE,
    PIV_AID,
    PIV_AID_TRUNCATED,
    PRINTED_INFORMATION,
    RETIRED_CERTS,
    RETIRED_KEYS,
    Access,
    Algorithm,
    Interface,
    KeyRef,
    Presence,
)


def test_the_application_identifier() -> None:
    assert PIV_AID.hex().upper() == "A000000308000010000100"
    assert PIV_AID_TRUNCATED.hex().upper() == "A00000030800001000"


def test_no_tag_and_no_container_id_stands_twice() -> None:
    # 36 of NIST (SP 800-73pt1-5, Table 1), our two, Yubico's one
    assert len(CONTAINERS) == 39
    assert len({row.container_id for row in CONTAINERS.values()}) == len(CONTAINERS)
    assert all(tag == row.tag for tag, row in CONTAINERS.items())


# SP 800-73pt1-5, Table 2 and Appendix A
@pytest.mark.parametrize(
    ("tag", "container_id", "min_bytes", "contact", "contactless", "presence"),
    [
        (0x5FC107, 0xDB00, 170, Access.ALWAYS, Access.VCI, Presence.MANDATORY),
        (0x5FC102, 0x3000, 2881, Access.ALWAYS, Access.ALWAYS, Presence.MANDATORY),
        (0x5FC105, 0x0101, 1857, Access.ALWAYS, Access.VCI, Presence.MANDATORY),
        (0x5FC103, 0x6010, 4006, Access.PIN, Access.VCI_AND_PIN, Presence.MANDATORY),
        (0x5FC106, 0x9000, 1336, Access.ALWAYS, Access.VCI, Presence.MANDATORY),
        (0x5FC108, 0x6030, 12710, Access.PIN, Access.VCI_AND_PIN, Presence.MANDATORY),
        (0x5FC101, 0x0500, 1857, Access.ALWAYS, Access.ALWAYS, Presence.MANDATORY),
        (0x5FC10A, 0x0100, 1857, Access.ALWAYS, Access.VCI, Presence.CONDITIONAL),
        (0x5FC10B, 0x0102, 1857, Access.ALWAYS, Access.VCI, Presence.CONDITIONAL),
        (0x5FC109, 0x3001, 245, Access.PIN_OR_OCC, Access.VCI_AND_PIN_OR_OCC, Presence.OPTIONAL),
        (0x7E, 0x6050, 19, Access.ALWAYS, Access.ALWAYS, Presence.OPTIONAL),
        (0x5FC10C, 0x6060, 128, Access.ALWAYS, Access.VCI, Presence.OPTIONAL),
        (0x5FC10D, 0x1001, 1895, Access.ALWAYS, Access.VCI, Presence.OPTIONAL),
        (0x5FC120, 0x1014, 1895, Access.ALWAYS, Access.VCI, Presence.OPTIONAL),
        (0x5FC121, 0x1015, 7106, Access.PIN, Access.VCI_AND_PIN, Presence.OPTIONAL),
        (0x7F61, 0x1016, 65, Access.ALWAYS, Access.ALWAYS, Presence.OPTIONAL),
        (0x5FC122, 0x1017, 2471, Access.ALWAYS, Access.ALWAYS, Presence.OPTIONAL),
        (0x5FC123, 0x1018, 12, Access.PIN_OR_OCC, Access.VCI_AND_PIN_OR_OCC, Presence.OPTIONAL),
        (0x5FFF20, 0xFF20, 252, Access.ALWAYS, Access.ALWAYS, Presence.OWN),
        (0x5FFF21, 0xFF21, 3382, Access.PIN, Access.VCI_AND_PIN, Presence.OWN),
    ],
)
def test_container_rows(
    tag: int, container_id: int, min_bytes: int, contact: Access, contactless: Access, presence: Presence
) -> None:
    row = CONTAINERS[tag]
    assert (row.container_id, row.min_bytes, row.presence) == (container_id, min_bytes, presence)
    assert row.read_access(Interface.CONTACT) is contact
    assert row.read_access(Interface.CONTACTLESS) is contactless


def test_what_a_stranger_reads_over_contactless_names_nobody() -> None:
    open_rows = {row.name for row in CONTAINERS.values() if row.read_access(Interface.CONTACTLESS) is Access.ALWAYS}
    assert {CHUID.name, CARD_CREDENTIAL.name} <= open_rows
    assert not {FACIAL_IMAGE.name, PRINTED_INFORMATION.name, IDENTITY_STATEMENT.name} & open_rows


def test_twenty_retired_keys_have_their_certificates() -> None:
    assert [int(ref) for ref in RETIRED_KEYS] == list(range(0x82, 0x96))
    assert [KEYS[ref].certificate for ref in RETIRED_KEYS] == list(RETIRED_CERTS)
    assert RETIRED_CERTS[19].name == "certificate 95"


# SP 800-73pt1-5, Tables 6 and 7
@pytest.mark.parametrize(
    ("ref", "contact", "contactless"),
    [
        (KeyRef.GLOBAL_PIN, Access.ALWAYS, Access.VCI),
        (KeyRef.PIN, Access.ALWAYS, Access.VCI),
        (KeyRef.PUK, Access.ALWAYS, Access.NEVER),
        (KeyRef.PRIMARY_FINGER, Access.ALWAYS, Access.SM),
        (KeyRef.PAIRING_CODE, Access.ALWAYS, Access.SM),
        (KeyRef.SECURE_MESSAGING, Access.ALWAYS, Access.ALWAYS),
        (KeyRef.PIV_AUTH, Access.PIN_OR_OCC, Access.VCI_AND_PIN_OR_OCC),
        (KeyRef.ADMIN, Access.ALWAYS, Access.NEVER),
        (KeyRef.SIGNATURE, Access.PIN_OR_OCC_EACH_USE, Access.VCI_AND_PIN_OR_OCC_EACH_USE),
        (KeyRef.KEY_MANAGEMENT, Access.PIN_OR_OCC, Access.VCI_AND_PIN_OR_OCC),
        (KeyRef.CARD_AUTH, Access.ALWAYS, Access.ALWAYS),
        (KeyRef.RETIRED_20, Access.PIN_OR_OCC, Access.VCI_AND_PIN_OR_OCC),
    ],
)
def test_key_rows(ref: KeyRef, contact: Access, contactless: Access) -> None:
    assert KEYS[ref].use_access(Interface.CONTACT) is contact
    assert KEYS[ref].use_access(Interface.CONTACTLESS) is contactless


def test_key_pairs_are_made_in_five_places_and_agree_only_where_they_may() -> None:
    assert KEYS_THAT_GENERATE == (0x04, 0x9A, 0x9C, 0x9D, 0x9E)
    assert {ref for ref, row in KEYS.items() if row.can_agree} == {KeyRef.KEY_MANAGEMENT, *RETIRED_KEYS}


def test_algorithms_stand_where_the_standard_has_them() -> None:
    assert KEYS[KeyRef.SECURE_MESSAGING].algorithms == {Algorithm.CS2, Algorithm.CS7}
    assert Algorithm.RSA_1024 not in KEYS[KeyRef.PIV_AUTH].algorithms
    assert Algorithm.RSA_1024 in KEYS[KeyRef.RETIRED_1].algorithms
    assert Algorithm.AES_128 in KEYS[KeyRef.CARD_AUTH].algorithms
    assert {ref for ref, row in KEYS.items() if Algorithm.ED25519 in row.algorithms} == {0x9A, 0x9C, 0x9E}
    assert {ref for ref, row in KEYS.items() if Algorithm.X25519 in row.algorithms} == {0x9D, *RETIRED_KEYS}
    assert BLOCK_BYTES[Algorithm.TDES_3KEY] == 8
    assert BLOCK_BYTES[Algorithm.AES_256] == 16
