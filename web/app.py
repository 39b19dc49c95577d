"""The application: pages and JSON; every rule of the domain is a service of the centre."""

import logging
from urllib.parse import urlencode

from flask import Flask, Response, g, make_response, render_template, request
from flask_wtf.csrf import CSRFError, CSRFProtect
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as BaseResponse

from issuer.accounts.form_key import form_key
from issuer.errors import Forbidden, IssuerError, NotFound
from issuer.policy import EVERYWHERE, Action, Actor, allows, scopes
from issuer.trust.ocsp_responder import OcspService
from web import audit, auth, cards, doors, home, hsm, people, requests, revocation, updates, verify
from web.site import (
    EXTENSION,
    LANGUAGE_COOKIE,
    Parts,
    explain,
    lang,
    note_forbidden,
    sentence,
    show_date,
    show_time,
    t,
    visitor,
)

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 8 * 1024 * 1024
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
NAVIGATION = (
    ("people.index", "nav.people", "people", Action.PERSON_VIEW),
    ("requests.index", "nav.requests", "requests", Action.CARD_VIEW),
    ("cards.index", "nav.cards", "cards", Action.CARD_VIEW),
    ("doors.index", "nav.doors", "doors", Action.DOOR_VIEW),
    ("audit.index", "nav.audit", "audit", Action.AUDIT_VIEW),
    ("hsm.index", "nav.hsm", "hsm", Action.KEYS_MANAGE),
)


def create_app(parts: Parts) -> Flask:
    """Wire the pages to the parts of one installation."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=form_key(parts.config.data_dir),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=parts.config.public_url.startswith("https:"),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        WTF_CSRF_TIME_LIMIT=None,
    )
    app.extensions[EXTENSION] = parts
    hops = parts.config.web_proxies
    if hops:  # without it everybody behind a proxy would share one address, and one count of wrong passwords
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]  # as Flask says
    app.jinja_env.filters.update(day=show_date, moment=show_time, sentence=sentence)
    app.extensions[revocation.OCSP] = OcspService(parts.factory, parts.hsm)
    CSRFProtect(app).exempt(revocation.pages)  # other programs ask there, without cookies
    for blueprint in (
        auth.pages,
        home.pages,
        people.pages,
        requests.pages,
        cards.pages,
        updates.pages,
        doors.pages,
        audit.pages,
        hsm.pages,
        verify.pages,
        revocation.pages,
    ):
        app.register_blueprint(blueprint)
    app.before_request(auth.recognise)
    app.after_request(_finish)
    app.context_processor(_for_templates)
    app.register_error_handler(IssuerError, _refused)
    app.register_error_handler(CSRFError, _stale_form)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(SQLAlchemyError, _database_error)
    return app


def _for_templates() -> dict[str, object]:
    here = visitor()
    other = "en" if lang() == "vi" else "vi"
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != "lang"]
    return {
        "t": t,
        "lang": lang(),
        "other_language": other,
        "other_language_query": urlencode([*kept, ("lang", other)]),
        "visitor": here,
        "navigation": [row[:3] for row in NAVIGATION if here and _leads_somewhere(here.actor, row[3])],
        "here": (request.blueprint or ""),
        "can": lambda action, agency: here is not None and allows(here.actor, Action(action), agency),
    }


def _leads_somewhere(who: Actor, action: Action) -> bool:
    """The audit log is one chain for all agencies: only who may see every agency may read it."""
    return allows(who, action, EVERYWHERE) if action is Action.AUDIT_VIEW else bool(scopes(who, action))


def _finish(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Within the site the check of forms under https needs the address a form came from; others learn nothing.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if request.endpoint != "static" and not (request.blueprint == revocation.pages.name and response.cache_control):
        # Pages show personal data: neither the browser's cache nor a proxy keeps them.
        response.headers["Cache-Control"] = "no-store"
    if request.args.get("lang") in ("vi", "en"):
        response.set_cookie(LANGUAGE_COOKIE, request.args["lang"], max_age=31_536_000, samesite="Lax", httponly=True)
    return response


def _page(status: int, text: str) -> tuple[str, int]:
    g.setdefault("visitor", None)
    return render_template("error.html", status=status, text=text), status


def _refused(error: Exception) -> tuple[str, int]:
    if not isinstance(error, IssuerError):
        raise error
    status = 403 if isinstance(error, Forbidden) else 404 if isinstance(error, NotFound) else 409
    note_forbidden(error)
    log.info("page refused path=%s code=%s", request.path, error.code)
    return _page(status, explain(error))


def _stale_form(error: Exception) -> tuple[str, int]:
    log.info("form refused path=%s why=%s", request.path, error)
    return _page(400, t("web.stale_form"))


def _http_error(error: Exception) -> BaseResponse:
    if not isinstance(error, HTTPException):
        raise error
    if error.code is None or error.code < 400:
        return error.get_response()
    known = error.code in (400, 401, 403, 404, 405, 413, 429)
    page, code = _page(error.code, t(f"web.http.{error.code}" if known else "web.http.other"))
    answer = make_response(page, code)
    wait_s = getattr(error, "retry_after", None)
    if wait_s is not None:
        answer.headers["Retry-After"] = str(wait_s)
    return answer


def _database_error(error: Exception) -> tuple[str, int]:
    log.error("database failed path=%s", request.path, exc_info=error)
    return _page(503, t("web.database_down"))
