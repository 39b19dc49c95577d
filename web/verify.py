"""The public page behind the QR, and the two questions its script asks: the signers' keys, a card's status."""

import base64
import time
from datetime import date

from flask import Blueprint, Response, abort, jsonify, render_template, request
from werkzeug.exceptions import TooManyRequests

from cardlink.statements.cose_key import CoseKey
from cardlink.statements.trust import Trust, Use, reload_trust_list
from issuer.errors import NotFound
from issuer.registry import agencies
from issuer.trust import status, trust_list
from web.site import now, number_asked, parts, reading

pages = Blueprint("verify", __name__)

FAR_AWAY = date(9999, 12, 31)
"""The script knows the expiry from the signed statement; the server only says what the list says."""


@pages.before_request
def keep_within_the_limit() -> None:
    """Refuse who asks too often; the page itself is the same for all and costs nothing, so it is not counted."""
    if request.endpoint == "verify.index":
        return
    wait_s = parts().questions.wait_s(request.remote_addr or "", time.monotonic())
    if wait_s:
        raise TooManyRequests(retry_after=int(wait_s) + 1)


@pages.get("/v")
def index() -> str:
    """The page itself: the same for every card, since the statement stays in the browser."""
    return render_template("verify.html")


@pages.get("/v/keys")
def keys() -> Response:
    """The keys of use `qr` from the trust list, as the script needs them, with the names of who signs."""
    with reading() as session:
        trusted = _trusted(trust_list.current(session))
        names = {one.code: one.name for one in agencies.all_agencies(session)}
    if now().timestamp() >= trusted.content.expires_s:
        abort(503)
    told = [
        {
            "kid": entry.kid.hex(),
            "x": _base64url(numbers.x),
            "y": _base64url(numbers.y),
            "scope": list(entry.scope),
            "names": {code: names[code] for code in entry.scope if code in names},
            "verifies_until": entry.verifies_until_s,
            "state": entry.state.name.lower(),
        }
        for entry in trusted.content.keys
        if entry.use is Use.QR and isinstance(entry.key, CoseKey)
        for numbers in (entry.key.public_key().public_numbers(),)
    ]
    return jsonify(keys=told)


@pages.get("/v/status")
def card_status() -> Response:
    """What a list says of one card now: one word, nothing about who holds it."""
    list_n, idx = number_asked("list"), number_asked("idx")
    if list_n is None or idx is None:
        abort(400)
    with reading() as session:
        state = status.public_state(session, list_n, idx, FAR_AWAY, now())
    return jsonify(state=str(state), at=now().isoformat(timespec="seconds"))


def _trusted(raw: bytes) -> Trust:
    trusted = reload_trust_list(raw)
    if not isinstance(trusted, Trust):
        raise NotFound("trust.unreadable")
    return trusted


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")
