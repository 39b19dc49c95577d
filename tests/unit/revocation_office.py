"""A register whose cards have certificates, and files of its authorities and lists for OpenSSL."""

import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from asn1crypto import pem
from card_register import APPROVER, HOME, NOW, Register, open_register

from cardlink.piv.fascn import NON_FEDERAL, encode_fascn
from issuer import database
from issuer.cards import blocking
from issuer.cards.blocking import BlockReason
from issuer.cards.states import Form
from issuer.cards.tables import Card, CardCertificate
from issuer.cards.validity import end_of
from issuer.trust import ca, profiles, revocation
from issuer.trust.crl import Kind
from issuer.trust.revocation import Published

URL = "http://pki.example"


@dataclass
class RevocationOffice:
    register: Register
    folder: Path
    issuing: str
    root: str

    @property
    def now(self) -> datetime:
        return self.register.now

    def card(self) -> tuple[Card, dict[str, bytes]]:
        """An active card with its four certificates."""
        card = self.register.active(Form.CHIP)
        made: dict[str, bytes] = {}
        with database.transaction(self.register.factory) as session:
            authority = ca.current(session, ca.ISSUING, HOME, self.now)
            issuer = ca.issuer_of(session, self.register.keys, authority)
            expires = end_of(card.expires_on)
            holder = ca.CardHolder(HOME, "Sở Thử", "Đặng Thị Ánh", card.uuid, encode_fascn(NON_FEDERAL), expires)
            for slot in profiles.CARD_PROFILES:
                point = self.register.keys.generate(f"{card.id} {slot}", "ec-p256", "card", ()).public
                assert point is not None
                serial = ca.random_serial()
                made[slot] = ca.issue_card_certificate(issuer, slot, point, holder, serial, self.now)
                session.add(
                    CardCertificate(
                        card_id=card.id,
                        slot=slot,
                        serial=f"{serial:040x}",
                        issuer_label=authority.label,
                        certificate=made[slot],
                        not_after=expires,
                    )
                )
        return card, made

    def block(self, card: Card, reason: BlockReason = BlockReason.SUSPENDED) -> None:
        with database.transaction(self.register.factory) as session:
            blocking.block(session, self.register.keys, APPROVER, card.id, reason, self.now)

    def unblock(self, card: Card) -> None:
        with database.transaction(self.register.factory) as session:
            blocking.unblock(session, self.register.keys, APPROVER, card.id, self.now)

    def revoke(self, card: Card) -> None:
        with database.transaction(self.register.factory) as session:
            blocking.revoke(session, self.register.keys, APPROVER, card.id, "thôi việc", self.now)

    def publish(self, kind: Kind = Kind.FULL, label: str = "") -> dict[Kind, Published]:
        made = revocation.publish(self.register.factory, self.register.keys, label or self.issuing, kind, self.now)
        return {one.kind: one for one in made}

    def authority(self, label: str) -> bytes:
        with database.reading(self.register.factory) as session:
            return ca.find(session, label).certificate

    def write(self, name: str, label: str, *ders: bytes) -> Path:
        """DER structures of one kind as PEM in one file."""
        path = self.folder / name
        path.write_bytes(b"".join(pem.armor(label, der) for der in ders))
        return path

    def verify(self, certificate: bytes, lists: list[bytes], *more: str) -> tuple[int, str]:
        """`openssl verify` of the whole path, all of it checked against these lists."""
        files = [
            *("-CAfile", self.write("root.pem", "CERTIFICATE", self.authority(self.root))),
            *("-untrusted", self.write("issuing.pem", "CERTIFICATE", self.authority(self.issuing))),
        ]
        if lists:
            files += ["-CRLfile", self.write("lists.pem", "X509 CRL", *lists)]
        attime = str(int(self.now.timestamp()) + 60)
        command = ["openssl", "verify", "-x509_strict", "-crl_check_all", "-attime", attime, *map(str, files), *more]
        command.append(str(self.write("leaf.pem", "CERTIFICATE", certificate)))
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        return answer.returncode, answer.stdout + answer.stderr


def open_revocation_office(folder: Path, *, is_fresh: bool = False) -> RevocationOffice:
    register = open_register(folder, is_fresh=is_fresh)
    with database.transaction(register.factory) as session:
        revocation.settle_url(session, URL)
        issuing = ca.current(session, ca.ISSUING, HOME, NOW).label
        root = ca.current(session, ca.ROOT, "", NOW).label
    return RevocationOffice(register, folder, issuing, root)
