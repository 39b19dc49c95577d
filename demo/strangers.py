"""Cards that a door must refuse: a clone with copied public data, a card whose issuer nobody knows."""

import os
import secrets
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from cardlink.piv import commands
from cardlink.piv.tables import CARD_CREDENTIAL, KEYS, Algorithm, KeyRef
from cardlink.piv.yubico import Origin
from cardlink.statements.card import CardCredential, issue_card_credential
from cardlink.statements.cose_key import from_public_key
from cardos.card import Card
from cardos.factory import make_blank
from cardos.faults import clone
from cardos.image import FileStore
from cardos.piv.auth import default_pin_policy
from cardos.piv.keys import save_private
from cardos.records import Record, SlotKey, StoredObject, record_name
from demo.slots import CardFile


def copy_public_data(victim: CardFile, folder: Path) -> CardFile:
    """Everything anybody can read from a card, on another card with a key of its own."""
    store = FileStore(victim.image, victim.secret)
    try:
        records = clone(Card(store))
    finally:
        store.close()
    return _write("ban-sao", folder, os.urandom(10), records)


def make_unknown_issuer(agency: str, folder: Path, now: datetime) -> CardFile:
    """A card that is right in every respect, but for a signer that is in no trust list."""
    forger, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(forger.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    issued_s = int(now.timestamp())
    said = CardCredential(
        agency=agency,
        expires_s=issued_s + int(timedelta(days=365).total_seconds()),
        issued_s=issued_s,
        card_uuid=uuid.uuid4().bytes,
        key=from_public_key(own.public_key()),
        status_list=1,
        status_index=1,
    )
    credential = issue_card_credential(said, from_public_key(forger.public_key()).kid(), sign)
    policy = default_pin_policy(KEYS[KeyRef.CARD_AUTH])
    added: tuple[Record, ...] = (
        StoredObject(CARD_CREDENTIAL.tag, commands.wrap_object(CARD_CREDENTIAL.tag, credential)),
        SlotKey(KeyRef.CARD_AUTH, Algorithm.P_256, save_private(own), Origin.GENERATED, policy),
    )
    serial = os.urandom(10)
    records = make_blank(serial, (os.urandom(32), os.urandom(32), os.urandom(32)))
    records.update((record_name(one.kind, one.number), one.encode()) for one in added)
    return _write("la", folder, serial, records)


def _write(name: str, folder: Path, serial: bytes, records: dict[bytes, bytes]) -> CardFile:
    card = CardFile(name, folder / f"{name}.card", serial.hex())
    key = card.image.with_name(card.image.name + ".key")
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32), encoding="ascii")
    FileStore.create(card.image, card.secret, records).close()
    return card
