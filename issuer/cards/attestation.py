"""The step that asks the chip for its maker's word on the keys that were made on it (issuer/cards/makers.py)."""

from typing import Any

from cardlink.check.path import load_certificate
from cardlink.errors import CardStatus
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.objects import decode_certificate
from cardlink.piv.tables import CERT_ATTESTATION, PIV_AID
from cardlink.statements.refusal import Refused
from issuer import database
from issuer.audit import log as audit
from issuer.cards.makers import judge
from issuer.cards.plan import Step
from issuer.cards.read_back import Mismatch
from issuer.cards.talk import CARD, CHALLENGE_BYTES, Talk
from issuer.cards.workspace import Workspace


def attest(work: Workspace, step: Step) -> Talk[dict[str, Any]]:
    """Ask about each key, and note what the chip says. Raises Mismatch unless a known maker vouches for all of them.

    A chip that attests nothing is taken where its product does not promise it; that is noted too.
    """
    if work.channel.aid != PIV_AID:
        yield from work.channel.open(PIV_AID, (CARD,), work.random(CHALLENGE_BYTES))
    attester = yield from _attester(work)
    if attester is None:
        if work.plan.profile.is_attested:
            raise Mismatch("the chip has no certificate of its maker (5FFF01), and its product promises one")
        return {"maker": None}
    now, serials = work.clock(), set[int]()
    for ref, point in work.points().items():
        try:
            answer = yield from work.channel.say(yubico.attest(ref))
        except CardStatus as status:
            raise Mismatch(f"the chip does not attest its key {ref:02X}: {status}") from status
        judged = judge(work.makers, answer, attester, point, now)
        if isinstance(judged, Refused):
            raise Mismatch(f"no known maker vouches for key {ref:02X}: {judged.reason}, {judged.detail}")
        serials.add(judged.claims.serial)
    facts = {"maker": load_certificate(attester).issuer.rfc4514_string(), "serials": sorted(serials)}
    with database.transaction(work.factory) as session:
        audit.append(session, work.actor, "card.keys_attested", str(work.subject.card_uuid), facts, now)
    return facts


def _attester(work: Workspace) -> Talk[bytes | None]:
    """The certificate of the chip's key F9; None where it has none."""
    try:
        told = yield from work.channel.say(piv.get_data(CERT_ATTESTATION.tag))
    except CardStatus:
        return None
    content = piv.unwrap_object(CERT_ATTESTATION.tag, told)
    return decode_certificate(content).certificate if content else None
