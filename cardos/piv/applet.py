"""The PIV card application: which commands it has, and what it answers to SELECT."""

from types import MappingProxyType

from cardlink.iso7816.apdu import Ins
from cardlink.piv.secure_messaging import PROTECTED_COMMANDS, SUITES
from cardlink.piv.tables import PIV_AID, YubicoIns
from cardlink.piv.templates import ApplicationProperties, encode_apt
from cardos.gp.domain import initialize_update
from cardos.piv.attest import attest
from cardos.piv.authenticate import general_authenticate
from cardos.piv.objects import get_data, put_data
from cardos.piv.pins import change_reference_data, reset_retry_counter, verify
from cardos.piv.slots import generate_key, import_key, move_key, set_management_key
from cardos.piv.yubico import get_metadata, get_serial, get_version, reset, set_pin_retries
from cardos.state import Handler, Platform

AID = PIV_AID
# by the cipher suite of secure messaging, 0 for a card without (SP 800-73pt2-5 §3.1.1)
_APT = {suite: encode_apt(ApplicationProperties(algorithms=(suite,) if suite else ())) for suite in (0, *SUITES)}

HANDLERS: MappingProxyType[int, Handler] = MappingProxyType(
    {
        Ins.GET_DATA: get_data,
        Ins.VERIFY: verify,
        Ins.CHANGE_REFERENCE_DATA: change_reference_data,
        Ins.RESET_RETRY_COUNTER: reset_retry_counter,
        Ins.GENERAL_AUTHENTICATE: general_authenticate,
        Ins.PUT_DATA: put_data,
        Ins.GENERATE_ASYMMETRIC_KEY_PAIR: generate_key,
        YubicoIns.GET_VERSION: get_version,
        YubicoIns.GET_SERIAL: get_serial,
        YubicoIns.GET_METADATA: get_metadata,
        YubicoIns.IMPORT_KEY: import_key,
        YubicoIns.ATTEST: attest,
        YubicoIns.MOVE_KEY: move_key,
        YubicoIns.SET_MANAGEMENT_KEY: set_management_key,
        YubicoIns.SET_PIN_RETRIES: set_pin_retries,
        YubicoIns.RESET: reset,
    }
)
GP_HANDLERS: MappingProxyType[int, Handler] = MappingProxyType({Ins.INITIALIZE_UPDATE: initialize_update})
# SP 800-73pt2-5 Table 2; Yubico's import is longer than one APDU as well.
CHAINED = frozenset(
    (Ins.GENERAL_AUTHENTICATE, Ins.PUT_DATA, Ins.GENERATE_ASYMMETRIC_KEY_PAIR, YubicoIns.IMPORT_KEY),
)
SECURED = PROTECTED_COMMANDS


def select(platform: Platform) -> bytes:
    """The application property template, with AC where the card has a secure messaging key and its certificate."""
    return _APT[platform.persistent.messaging_suite]
