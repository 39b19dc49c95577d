"""What the feed signs as it goes: heartbeats, answers to nonces, snapshots, bundles and revocation lists that run out.

Every function here blocks and runs in a worker thread; the HSM's connection may be used from any thread, and finds a
restarted HSM again by itself.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from issuer import database
from issuer.access import bundles
from issuer.audit import checkpoints
from issuer.database import SessionFactory
from issuer.trust import ocsp_responder, revocation, status
from issuer.trust.port import Signing
from issuer.trust.signers import Signer, status_signer
from issuer.trust.status import Position, SignedSnapshot

SIGNER_FOR = timedelta(seconds=60)
"""How long a signer is used before the tables are asked again; a new trust list makes them asked at once."""


@dataclass(slots=True)
class FeedSigner:
    """The status key of this installation, as the feed uses it."""

    factory: SessionFactory
    hsm: Signing
    held: tuple[Signer, datetime] | None = None

    def heartbeat(self, at: Position, issued_s: int, now: datetime) -> bytes:
        """Sign a heartbeat. Raises HsmError, NotFound."""
        return status.heartbeat(self.signer(now), at, issued_s)

    def fresh(self, at: Position, nonce: bytes, now: datetime) -> bytes:
        """Answer a nonce. Raises HsmError, NotFound, Malformed."""
        return status.fresh(self.signer(now), at, nonce, now)

    def snapshot(self, list_n: int, now: datetime) -> SignedSnapshot:
        """Build and sign a list as it stands. Raises HsmError, NotFound."""
        signer = self.signer(now)
        with database.reading(self.factory) as session:
            return status.snapshot(session, signer, list_n, now)

    def renew_bundles(self, now: datetime) -> int:
        """Publish the bundles that are missing or run out. Raises HsmError, NotFound."""
        with database.reading(self.factory) as session:
            waiting = bundles.due(session, now)
        for door_id in waiting:
            with database.transaction(self.factory) as session:
                bundles.publish(session, self.hsm, door_id, now)
        return len(waiting)

    def forget(self) -> None:
        """Ask the tables again: a trust list came, and with it perhaps another key."""
        self.held = None

    def checkpoint(self, now: datetime) -> bool:
        """Sign a checkpoint of the audit log if one is due. Raises HsmError, and Refused for a log that was changed."""
        return checkpoints.make_due(self.factory, self.hsm, now) is not None

    def publish_revocations(self, now: datetime) -> int:
        """Publish the lists of issuing authorities that are due. Answers how many. Raises HsmError, NotFound."""
        made = revocation.publish_due(self.factory, self.hsm, now)
        ocsp_responder.renew(self.factory, self.hsm, now)
        return len(made)

    def signer(self, now: datetime) -> Signer:
        """The key that signs now. Raises NotFound."""
        held = self.held
        if held is not None and timedelta() <= now - held[1] < SIGNER_FOR:
            return held[0]
        with database.reading(self.factory) as session:
            signer = status_signer(session, self.hsm, now)
        self.held = signer, now
        return signer
