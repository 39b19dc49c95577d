"""Access rules: may this object be read, this key be used, this card be managed, now and over this interface.

Source: SP 800-73pt1-5 Tables 3, 6 and 7 and §5.5; SP 800-73pt2-5 Table 2.
"""

from cardlink.errors import CardStatus
from cardlink.iso7816.sw import SW
from cardlink.piv.objects import GLOBAL_PIN_BIT, VCI_BIT, VCI_WITHOUT_PAIRING_BIT
from cardlink.piv.tables import KEYS, PIV_AID, Access, Interface, Key
from cardlink.piv.yubico import PinPolicy
from cardos.records import SlotKey
from cardos.state import Platform

_PIN_POLICY_OF = {
    Access.ALWAYS: PinPolicy.NEVER,
    Access.PIN_OR_OCC: PinPolicy.ONCE,
    Access.PIN_OR_OCC_EACH_USE: PinPolicy.ALWAYS,
}
_LEAST_POLICY = {ref: _PIN_POLICY_OF[row.contact_use] for ref, row in KEYS.items() if row.contact_use in _PIN_POLICY_OF}
_STRICTER_USE = {
    (PinPolicy.ONCE, Interface.CONTACT): Access.PIN_OR_OCC,
    (PinPolicy.ONCE, Interface.CONTACTLESS): Access.VCI_AND_PIN_OR_OCC,
    (PinPolicy.ALWAYS, Interface.CONTACT): Access.PIN_OR_OCC_EACH_USE,
    (PinPolicy.ALWAYS, Interface.CONTACTLESS): Access.VCI_AND_PIN_OR_OCC_EACH_USE,
}


def is_allowed(platform: Platform, access: Access) -> bool:
    """Does the security status satisfy this rule."""
    if access is Access.ALWAYS:
        return True
    volatile = platform.volatile
    security = volatile.security
    before = volatile.count - 1
    match access:
        case Access.PIN:
            return security.pin or (security.global_pin and has_global_pin(platform))
        case Access.PIN_OR_OCC:
            return is_allowed(platform, Access.PIN) or security.occ
        case Access.PIN_OR_OCC_EACH_USE:
            return (
                (security.pin and security.pin_at == before)
                or (security.occ and security.occ_at == before)
                or (security.global_pin and security.global_pin_at == before and has_global_pin(platform))
            )
        case Access.SM:
            return volatile.secure_messaging
        case Access.VCI:
            return has_vci(platform)
        case Access.VCI_AND_PIN:
            return has_vci(platform) and is_allowed(platform, Access.PIN)
        case Access.VCI_AND_PIN_OR_OCC:
            return has_vci(platform) and is_allowed(platform, Access.PIN_OR_OCC)
        case Access.VCI_AND_PIN_OR_OCC_EACH_USE:
            return has_vci(platform) and is_allowed(platform, Access.PIN_OR_OCC_EACH_USE)
    return False


def has_vci(platform: Platform) -> bool:
    """Is this command inside the virtual contact interface (SP 800-73pt1-5 §5.5)."""
    volatile, policy = platform.volatile, platform.persistent.pin_policy
    if not volatile.secure_messaging or not policy & VCI_BIT:
        return False
    return volatile.security.pairing_code or bool(policy & VCI_WITHOUT_PAIRING_BIT)


def has_global_pin(platform: Platform) -> bool:
    """Does the PIN usage policy let the Global PIN count in this application (SP 800-73pt1-5 §3.3.2)."""
    return bool(platform.persistent.pin_policy & GLOBAL_PIN_BIT)


def default_pin_policy(row: Key) -> PinPolicy:
    """How often a key of this reference asks for the PIN by the standard's table."""
    return _PIN_POLICY_OF[row.contact_use]


def may_use(platform: Platform, key: SlotKey) -> bool:
    """May this key be used: the rule of its reference, or the key's own policy where that is stricter."""
    row = KEYS[key.number]
    interface = platform.volatile.interface
    if key.pin_policy > _LEAST_POLICY[key.number]:
        return is_allowed(platform, _STRICTER_USE[key.pin_policy, interface])
    return is_allowed(platform, row.use_access(interface))


def is_admin(platform: Platform) -> bool:
    """Is the PIV administrator here: 9B was authenticated, or this is a channel opened after SELECT of PIV."""
    volatile = platform.volatile
    return volatile.security.admin or (volatile.channel is not None and volatile.channel.aid == PIV_AID)


def require_admin(platform: Platform, name: str) -> None:
    """Raise 6A81 over contactless (SP 800-73pt2-5 Table 2: "No") and 6982 without the administrator."""
    require_contact(platform, name)
    if not is_admin(platform):
        raise CardStatus(name, SW.SECURITY_STATUS_NOT_SATISFIED)


def require_contact(platform: Platform, name: str) -> None:
    """Raise 6A81 for a command that the table does not allow over contactless."""
    if platform.volatile.interface is not Interface.CONTACT:
        raise CardStatus(name, SW.FUNCTION_NOT_SUPPORTED)
