"""Cards that a door must refuse: a clone with copied public data, a card of an issuer nobody knows, and chips made
up from what a plastic card shows."""

import os
import secrets
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from cardlink.piv import commands
from cardlink.piv.tables import CARD_CREDENTIAL, KEYS, Algorithm, KeyRef
from cardlink.piv.yubico import Origin
from cardlink.statements.card import CardCredential, issue_card_credential, read_card_credential
from cardlink.statements.cose import Sign
from cardlink.statements.cose_key import from_public_key
from cardlink.statements.qr import parse_fragment
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
    credential = issue_card_credential(said, from_public_key(forger.public_key()).kid(), _signing(forger))
    return _chip("la", folder, credential, own)


@dataclass(frozen=True, slots=True)
class PlasticCard:
    """What anybody can learn of a plastic card: its statement stands in the QR code on its back."""

    qr_text: str
    agency: str
    card_uuid: uuid.UUID
    status_list: int
    status_index: int


def make_chip_with_qr(plastic: PlasticCard, folder: Path) -> CardFile:
    """A chip with a key of its own whose credential is the plastic card's QR statement: really signed, for faces."""
    statement = parse_fragment(plastic.qr_text.partition("#")[2])
    return _chip("ma-qr", folder, statement, ec.generate_private_key(ec.SECP256R1()))


def make_chip_for_plastic(plastic: PlasticCard, neighbour: CardFile, folder: Path) -> CardFile:
    """A chip that claims a plastic card's UUID and status, naming the signer of a real chip card as its own."""
    own = ec.generate_private_key(ec.SECP256R1())
    real = read_card_credential(_credential_of(neighbour))
    said = replace(
        real.value,
        agency=plastic.agency,
        card_uuid=plastic.card_uuid.bytes,
        key=from_public_key(own.public_key()),
        status_list=plastic.status_list,
        status_index=plastic.status_index,
    )
    return _chip("the-nhua", folder, issue_card_credential(said, real.statement.kid, _signing(own)), own)


def _signing(key: ec.EllipticCurvePrivateKey) -> Sign:
    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def _credential_of(card: CardFile) -> bytes:
    """The credential that anybody can read from a chip card."""
    store = FileStore(card.image, card.secret)
    try:
        copied = clone(Card(store))[record_name(StoredObject.kind, CARD_CREDENTIAL.tag)]
    finally:
        store.close()
    return commands.unwrap_object(CARD_CREDENTIAL.tag, StoredObject.decode(CARD_CREDENTIAL.tag, copied).answer)


def _chip(name: str, folder: Path, credential: bytes, own: ec.EllipticCurvePrivateKey) -> CardFile:
    """A card with this credential and this card authentication key, whatever they say."""
    policy = default_pin_policy(KEYS[KeyRef.CARD_AUTH])
    added: tuple[Record, ...] = (
        StoredObject(CARD_CREDENTIAL.tag, commands.wrap_object(CARD_CREDENTIAL.tag, credential)),
        SlotKey(KeyRef.CARD_AUTH, Algorithm.P_256, save_private(own), Origin.GENERATED, policy),
    )
    serial = os.urandom(10)
    records = make_blank(serial, (os.urandom(32), os.urandom(32), os.urandom(32)))
    records.update((record_name(one.kind, one.number), one.encode()) for one in added)
    return _write(name, folder, serial, records)


def _write(name: str, folder: Path, serial: bytes, records: dict[bytes, bytes]) -> CardFile:
    card = CardFile(name, folder / f"{name}.card", serial.hex())
    key = card.image.with_name(card.image.name + ".key")
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32), encoding="ascii")
    FileStore.create(card.image, card.secret, records).close()
    return card
