"""What programs and people are told of a tap, and of how a door stands."""

import json
from datetime import UTC, datetime
from uuid import UUID

from reader_daemon.decide import Granted
from reader_daemon.enrol import Enrolment, fingerprint
from reader_daemon.events import Place
from reader_daemon.loop import TapResult
from reader_daemon.reasons import ALARMS, text
from reader_daemon.state_store import StateStore


def tap_line(result: TapResult) -> str:
    """One tap as one line of JSON. Times in ms: `total_ms` of all, `card_ms` of the card, `commit_ms` of the event."""
    decision, reason = result.decision, result.reason
    fields: dict[str, object] = {
        "event": "tap",
        "reader": result.reader,
        "decision": "granted" if isinstance(decision, Granted) else "refused",
        "reason": reason,
        "text_vi": text(reason, "vi") if reason is not None else "",
        "text_en": text(reason, "en") if reason is not None else "",
        "alarm": reason in ALARMS,
        "opened": result.opened,
        "card": result.card.card_uuid.hex() if result.card is not None else None,
        "agency": result.card.agency if result.card is not None else None,
        "rule": decision.rule_id if isinstance(decision, Granted) else None,
        "stale": decision.is_stale if isinstance(decision, Granted) else None,
        "detail": "" if isinstance(decision, Granted) else decision.detail,
        "exchanges": result.exchanges,
        "bytes_out": result.bytes_out,
        "bytes_in": result.bytes_in,
        "card_ms": _ms(result.card_s),
        "check_ms": _ms(result.check_s),
        "commit_ms": _ms(result.commit_s),
        "total_ms": _ms(result.total_s),
        "boot": result.event.boot if result.event is not None else None,
        "seq": result.event.seq if result.event is not None else None,
    }
    return json.dumps(fields, ensure_ascii=False)


def standing(enrolment: Enrolment, store: StateStore, last: Place) -> dict[str, object]:
    """What a door has on disk, in the order in which it is shown."""
    epoch, seq = store.status_floor()
    kept = store.freshness()
    return {
        "name": enrolment.name,
        "door": str(UUID(bytes=enrolment.door)),
        "owner": enrolment.owner,
        "fingerprint": fingerprint(enrolment.roots),
        "trust": store.number("trust_number"),
        "bundle": store.number("bundle_seq"),
        "epoch": epoch,
        "seq": seq,
        "fresh_at": datetime.fromtimestamp(kept[0], UTC).isoformat() if kept is not None else None,
        "boot": last.boot,
        "record": last.seq,
        "waiting": store.waiting_records(),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
