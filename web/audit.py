"""The audit log: read page by page; its chain, tree and checkpoints checked on demand."""

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from issuer.accounts import users
from issuer.audit import checkpoints, log
from issuer.audit.log import Broken
from issuer.errors import Forbidden
from issuer.policy import EVERYWHERE, Action, allows
from web.site import actor, number_asked, reading, say_done, say_refused_text, t

pages = Blueprint("audit", __name__)


@pages.get("/audit")
def index() -> str:
    """The newest acts first."""
    _require()
    with reading() as session:
        rows = log.entries(
            session,
            before=number_asked("before"),
            action=request.args.get("action") or None,
            subject=request.args.get("subject") or None,
        )
        names = users.names_of(session, (row.actor for row in rows))
        return render_template("audit.html", rows=rows, names=names)


@pages.post("/audit/check")
def check() -> Response:
    """Go through the whole log; name the first row that is not as it was written."""
    _require()
    with reading() as session:
        found = checkpoints.verify(session)
    if isinstance(found, Broken):
        say_refused_text(t("web.audit_broken", n=found.n))
    else:
        say_done(t("web.audit_intact", rows=found.chain.rows, head=found.chain.head.hex()[:16]))
    return redirect(url_for("audit.index"))


def _require() -> None:
    """The log is one chain over all agencies, so only who may see all of them may read it."""
    if not allows(actor(), Action.AUDIT_VIEW, EVERYWHERE):
        raise Forbidden("page.web.audit_of_all")
