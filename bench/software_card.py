"""A virtual card with a key and a credential and nothing else: enough for a door."""

import os

from cryptography.hazmat.primitives.asymmetric import ec

from cardlink.piv.commands import wrap_object
from cardlink.piv.tables import CARD_CREDENTIAL, KEYS, Algorithm, KeyRef
from cardlink.piv.yubico import Origin
from cardos.card import Card
from cardos.factory import make_blank
from cardos.piv.auth import default_pin_policy
from cardos.piv.keys import save_private
from cardos.records import SlotKey, StoredObject
from cardos.store import MemoryStore


def software_card(private: ec.EllipticCurvePrivateKey, credential: bytes) -> Card:
    """The card of this key, with this credential."""
    card = Card(MemoryStore(make_blank(os.urandom(10), (os.urandom(32), os.urandom(32), os.urandom(32)))))
    policy = default_pin_policy(KEYS[KeyRef.CARD_AUTH])
    card.persistent.commit(
        [
            SlotKey(KeyRef.CARD_AUTH, Algorithm.P_256, save_private(private), Origin.GENERATED, policy),
            StoredObject(CARD_CREDENTIAL.tag, wrap_object(CARD_CREDENTIAL.tag, credential)),
        ]
    )
    return card
