"""The audit log: read page by page, its chain checked on demand."""

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from issuer import policy
from issuer.audit import log
from issuer.audit.log import Broken
from issuer.policy import Action
from web.site import actor, reading, say_done, say_refused_text, t

pages = Blueprint("audit", __name__)


@pages.get("/audit")
def index() -> str:
    """The newest acts first."""
    policy.require_anywhere(actor(), Action.AUDIT_VIEW)
    with reading() as session:
        rows = log.entries(
            session,
            before=request.args.get("before", type=int),
            action=request.args.get("action") or None,
            subject=request.args.get("subject") or None,
        )
        return render_template("audit.html", rows=rows)


@pages.post("/audit/check")
def check() -> Response:
    """Go through the whole chain; name the first row that is not as it was written."""
    policy.require_anywhere(actor(), Action.AUDIT_VIEW)
    with reading() as session:
        found = log.verify(session)
    if isinstance(found, Broken):
        say_refused_text(t("web.audit_broken", n=found.n))
    else:
        say_done(t("web.audit_intact", rows=found.rows, head=found.head.hex()[:16]))
    return redirect(url_for("audit.index"))
