"""What holds the keys: which HSM it is, and what of its work is done beside it or not at all."""

from flask import Blueprint, render_template

from issuer.errors import Forbidden
from issuer.policy import Action, scopes
from issuer.trust.port import HsmError
from web.site import actor, explain, parts

pages = Blueprint("hsm", __name__)


@pages.get("/hsm")
def index() -> str:
    """The HSM of this installation; a page also while it does not answer."""
    if not scopes(actor(), Action.KEYS_MANAGE):
        raise Forbidden("policy.no_role")
    hsm = parts().hsm
    try:
        lacking = hsm.capabilities().lacking()
        return render_template("hsm.html", status=hsm.status(), lacking=lacking, caps=hsm.caps(), trouble=None)
    except HsmError as error:
        return render_template("hsm.html", status=None, lacking=(), caps=(), trouble=explain(error))
