"""What was collected from a card, before anyone has judged it."""

from dataclasses import dataclass, field

from cardlink.statements.bundle import Mechanism


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of 9E to one challenge: which door asked, with which nonce, and the signature (DER)."""

    door_uuid: bytes
    nonce: bytes
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CredentialEvidence:
    """Mechanisms 1 and 2: the card credential (F3) and an answer. `chuid` and `certificate` where they were read too.

    `chuid` is the content of the CHUID container, `certificate` the DER of the 9E certificate. `y` is what the door
    application said belongs to the credential's x; it is checked like everything that a card says.
    """

    credential: bytes = field(repr=False)
    answer: Answer
    chuid: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    y: bytes | None = field(default=None, repr=False)
    mechanism: Mechanism = Mechanism.CREDENTIAL


@dataclass(frozen=True, slots=True)
class CertificateEvidence:
    """Mechanism 3, PKI-CAK: the 9E certificate (DER) and an answer; `chuid` where it was read too."""

    certificate: bytes = field(repr=False)
    answer: Answer
    chuid: bytes | None = field(default=None, repr=False)
