"""Signing in and out, and the one-time link with which a user sets a password."""

from urllib.parse import urlsplit

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from issuer.accounts import invitations, sessions
from issuer.accounts.sign_in import TurnedAway, Welcome, sign_in
from issuer.errors import IssuerError
from web.site import Visitor, explain, now, parts, reading, sentence, show_time, t, transaction

pages = Blueprint("auth", __name__)

COOKIE = "themo_session"
OPEN_TO_ALL = ("auth.", "verify.", "revocation.", "static")


def recognise() -> Response | None:
    """Find out who asks; a page that is not open to all sends a stranger to the sign-in."""
    if request.endpoint == "static":
        return None
    token = request.cookies.get(COOKIE)
    found = sessions.resume(parts().factory, token, now()) if token else None
    g.visitor = Visitor(found.actor, found.full_name, found.language) if found else None
    if found is None and request.endpoint is not None and not request.endpoint.startswith(OPEN_TO_ALL):
        wanted = request.full_path.rstrip("?") if request.method == "GET" else None
        return redirect(url_for("auth.show_sign_in", next=wanted if wanted != "/" else None))
    return None


@pages.get("/sign-in")
def show_sign_in() -> str:
    """The form."""
    return render_template("sign_in.html")


@pages.post("/sign-in")
def do_sign_in() -> Response | tuple[str, int]:
    """Check login and password; after too many wrong ones the answer is to wait."""
    login = request.form.get("login", "")
    answer = sign_in(parts().factory, login, request.form.get("password", ""), request.remote_addr or "", now())
    match answer:
        case Welcome(token=token):
            return _with_session(redirect(_inside(request.form.get("next"))), token)
        case TurnedAway(code=code, until=until):
            flash(sentence(t(code, until=show_time(until))), "bad")
    return render_template("sign_in.html", login=login), 401


@pages.post("/sign-out")
def sign_out() -> Response:
    """End this session, here and in the database."""
    token = request.cookies.get(COOKIE)
    if token:
        with transaction() as session:
            sessions.end(session, token, now())
    answer = redirect(url_for("auth.show_sign_in"))
    answer.delete_cookie(COOKIE)
    return answer


@pages.get("/invite/<token>")
def show_welcome(token: str) -> str:
    """The form behind a one-time link. Looking at it does not use it up."""
    with reading() as session:
        user = invitations.look(session, token, now())
        return render_template("welcome.html", full_name=user.full_name, login=user.login)


@pages.post("/invite/<token>")
def do_welcome(token: str) -> Response | tuple[str, int]:
    """Set the password and sign in."""
    password = request.form.get("password", "")
    if password != request.form.get("again", ""):
        flash(t("web.passwords_differ"), "bad")
        return redirect(url_for("auth.show_welcome", token=token))
    try:
        user = invitations.accept(parts().factory, token, password, now())
        with transaction() as session:
            fresh = sessions.begin(session, user, now())
    except IssuerError as error:
        flash(explain(error), "bad")
        return redirect(url_for("auth.show_welcome", token=token))
    return _with_session(redirect(url_for("home.index")), fresh)


def _with_session(answer: Response, token: str) -> Response:
    answer.set_cookie(
        COOKIE,
        token,
        httponly=True,
        samesite="Lax",
        secure=parts().config.public_url.startswith("https:"),
        max_age=int(sessions.LIFETIME.total_seconds()),
    )
    return answer


def _inside(target: str | None) -> str:
    """Only a path of this site: `//evil` and `https://evil` lead home, and so does what a browser reads as such."""
    if not target or not target.startswith("/") or "\\" in target or target.startswith("//"):
        return url_for("home.index")
    if any(ord(character) <= 32 for character in target):  # browsers drop tabs and line ends: `/<tab>/evil`
        return url_for("home.index")
    split = urlsplit(target)
    return target if not split.scheme and not split.netloc else url_for("home.index")
