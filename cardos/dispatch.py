"""From APDU to handler and back: class byte, secure channel, chaining, GET RESPONSE, and the one place that writes SW.

Under SCP03 a command is checked block by block (the host chains first and protects each block); under PIV secure
messaging it is joined first (the host protects the whole and then cuts it). An answer is protected whole and then cut
by both (GlobalPlatform Amendment D §6.2; SP 800-73pt2-5 §4.2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from cardlink.errors import CardStatus, Malformed
from cardlink.gp.inventory import AppState, LifeCycle
from cardlink.gp.scp03 import is_protected_sw
from cardlink.iso7816.apdu import SHORT_NE_MAX, Command, Ins, command_name, decode_command
from cardlink.iso7816.cla import CLA_TABLE, Cla, ClaKind, SecureMessaging
from cardlink.iso7816.sw import SUCCESS_BYTES, SW
from cardlink.piv.commands import parse_select
from cardos.buffers import Chain
from cardos.door import applet as door
from cardos.errors import StoreFailed
from cardos.gp import domain
from cardos.gp.channel import Channel
from cardos.gp.registry import Warned
from cardos.piv import applet
from cardos.piv.messaging import MessagingSession
from cardos.piv.messaging_key import close_session
from cardos.pkoc import applet as pkoc
from cardos.records import Owner
from cardos.state import Handler, Platform, Security, Volatile

# As plain numbers: each command asks for them, and an attribute of an enumeration goes through its metaclass.
_GET_RESPONSE, _EXTERNAL_AUTHENTICATE, _SELECT = int(Ins.GET_RESPONSE), int(Ins.EXTERNAL_AUTHENTICATE), int(Ins.SELECT)
_TERMINATED, _CARD_LOCKED = int(LifeCycle.TERMINATED), int(LifeCycle.CARD_LOCKED)
_USABLE = int(AppState.SELECTABLE & ~AppState.INSTALLED)  # the bit that makes an installed application selectable
_USABLE_BITS = _USABLE | int(AppState.LOCKED)


def _refusal(cla: Cla) -> SW | None:
    """What this card does not speak: other channels, other protection, other people's classes."""
    if cla.kind in (ClaKind.INVALID, ClaKind.RESERVED, ClaKind.PROPRIETARY):
        return SW.CLA_NOT_SUPPORTED
    if cla.channel:
        return SW.LOGICAL_CHANNEL_NOT_SUPPORTED
    return SW.SECURE_MESSAGING_NOT_SUPPORTED if cla.secure_messaging is SecureMessaging.ISO else None


# The same by class byte.
_REFUSED = tuple(_refusal(cla) for cla in CLA_TABLE)
_IN_MESSAGING = tuple(cla.secure_messaging is SecureMessaging.ISO_HEADER for cla in CLA_TABLE)
_IN_CHANNEL = tuple(cla.secure_messaging is SecureMessaging.PROPRIETARY for cla in CLA_TABLE)
_IS_CHAINED = tuple(cla.chained for cla in CLA_TABLE)
_IS_PROPRIETARY = tuple(cla.is_proprietary for cla in CLA_TABLE)
AID_BYTES_MIN = 5  # shorter than an RID names nobody


@dataclass(frozen=True, slots=True)
class Application:
    """One selectable application: its commands of the interindustry class, and those of GlobalPlatform's.

    `chained` may come in parts, `secured` under PIV secure messaging. `owners`: whose life cycles must all allow it
    to be selected, its own and that of whose data it uses (cardos.gp.registry).
    """

    aid: bytes
    select: Callable[[Platform], bytes]
    handlers: MappingProxyType[int, Handler]
    gp_handlers: MappingProxyType[int, Handler]
    chained: frozenset[int]
    secured: frozenset[int] = frozenset()
    owners: tuple[Owner, ...] = ()


PIV = Application(
    applet.AID, applet.select, applet.HANDLERS, applet.GP_HANDLERS, applet.CHAINED, applet.SECURED, (Owner.PIV,)
)
DOMAIN = Application(domain.AID, domain.select, domain.HANDLERS, domain.GP_HANDLERS, domain.CHAINED)
# The door application acts with PIV's credential and key, so what locks PIV locks it.
DOOR = Application(door.AID, door.select, door.HANDLERS, door.GP_HANDLERS, door.CHAINED, owners=(Owner.DOOR, Owner.PIV))
PKOC = Application(pkoc.AID, pkoc.select, pkoc.HANDLERS, pkoc.GP_HANDLERS, pkoc.CHAINED, owners=(Owner.PKOC,))
APPLICATIONS = MappingProxyType({one.aid: one for one in (PIV, DOMAIN, DOOR, PKOC)})
# What passes in the clear while a channel is open; all else closes it.
_CLEAR_IN_CHANNEL = frozenset((Ins.SELECT, Ins.GET_RESPONSE, Ins.INITIALIZE_UPDATE))
# GPCS §5.1.1: what a terminated card still does, and what a locked one does in its security domain.
_WHEN_TERMINATED = frozenset((Ins.GP_GET_DATA,))


def answer(platform: Platform, raw: bytes) -> bytes:
    """Answer one APDU. Whatever the bytes, the answer ends in a status word."""
    volatile = platform.volatile
    volatile.count += 1
    try:
        return _answer(platform, decode_command(raw))
    except CardStatus as status:
        return int(status.sw).to_bytes(2, "big")
    except Malformed:
        # only the APDU itself: handlers turn what is malformed inside into a status word of their own
        volatile.outgoing.clear()
        volatile.chain = None
        return SW.WRONG_LENGTH.to_bytes(2, "big")
    except StoreFailed:
        return SW.MEMORY_FAILURE.to_bytes(2, "big")


def _answer(platform: Platform, command: Command) -> bytes:
    volatile = platform.volatile
    cla, ins = command.cla, command.ins
    if ins == _GET_RESPONSE and not cla:
        volatile.chain = None
        return volatile.outgoing.next(command.le or SHORT_NE_MAX)
    if volatile.outgoing.rest:
        volatile.outgoing.clear()
    if cla:
        refused = _REFUSED[cla]
        if refused is not None:
            volatile.chain = None
            if refused is SW.SECURE_MESSAGING_NOT_SUPPORTED:
                volatile.end_channel()
            raise CardStatus(command_name(ins), refused)
        if _IN_MESSAGING[cla]:
            return _answer_secured(platform, command)
    channel = None
    if _IN_CHANNEL[cla] and ins != _EXTERNAL_AUTHENTICATE:
        whole = _unprotect(platform, command)
        if whole is None:
            return SUCCESS_BYTES
        command = whole
        channel = volatile.channel
    elif volatile.channel is not None and ins not in _CLEAR_IN_CHANNEL:
        # a chain that came through the channel is not to be ended by a block from outside
        volatile.chain = None
        volatile.end_channel()
        if ins != _EXTERNAL_AUTHENTICATE:
            raise CardStatus(command_name(ins), SW.SECURITY_STATUS_NOT_SATISFIED)
    try:
        if _IS_CHAINED[cla]:
            _keep_block(platform, command)
            data = b""
        else:
            if volatile.chain is not None:
                command = _end_chain(platform, command)
            data = _run(platform, cla, command)
    except Malformed as error:
        raise CardStatus(command_name(ins), SW.INCORRECT_DATA) from error
    except Warned as warned:
        return _warn(channel, warned.data, warned.sw)
    except CardStatus as status:
        # an error is answered bare, a warning with its R-MAC (Amendment D §6.2.5)
        if channel is None or not is_protected_sw(status.sw):
            raise
        return _warn(channel, b"", status.sw)
    if channel is not None:
        data = channel.protect(data, SW.SUCCESS)
    size = command.le or SHORT_NE_MAX
    if len(data) <= size:
        return data + SUCCESS_BYTES
    return volatile.outgoing.send(data, size)


def _warn(channel: Channel | None, data: bytes, sw: int) -> bytes:
    """A warning with its data, protected where a channel is open."""
    return (data if channel is None else channel.protect(data, sw)) + int(sw).to_bytes(2, "big")


def _answer_secured(platform: Platform, command: Command) -> bytes:
    """Answer a command under PIV secure messaging; what the command itself comes to stands inside the protection.

    A bare status word says that the protection failed, and ends the session (SP 800-73pt2-5 §4.2.7 and 4.3). It ends a
    channel of SCP03 as well: this is not its protection, and a channel ends with the first command that has another or
    none (Amendment D §5.6).
    """
    volatile = platform.volatile
    try:
        session = _require_messaging(platform, command)
        if _IS_CHAINED[command.cla]:
            _keep_block(platform, command)
            return SUCCESS_BYTES
        if volatile.chain is not None:
            command = _end_chain(platform, command)
        inside = session.unprotect(command)
    except CardStatus:
        volatile.chain = None
        close_session(platform)
        volatile.end_channel()
        raise
    data, sw = b"", int(SW.SUCCESS)
    volatile.secure_messaging = True
    try:
        data = _run(platform, inside.cla, inside)
    except CardStatus as status:
        sw = int(status.sw)
    except Malformed:
        sw = int(SW.INCORRECT_DATA)
    except StoreFailed:
        sw = int(SW.MEMORY_FAILURE)
    finally:
        volatile.secure_messaging = False
    return volatile.outgoing.send(session.protect(data, sw), command.le or SHORT_NE_MAX)


def _require_messaging(platform: Platform, command: Command) -> MessagingSession:
    """The open session. Raises 6882 where there cannot be one, 6982 where there is none."""
    volatile = platform.volatile
    if not platform.persistent.messaging_suite or command.ins not in APPLICATIONS[volatile.selected].secured:
        raise CardStatus(command_name(command.ins), SW.SECURE_MESSAGING_NOT_SUPPORTED)
    if volatile.messaging is None or volatile.channel is not None:
        raise CardStatus(command_name(command.ins), SW.SECURITY_STATUS_NOT_SATISFIED)
    return volatile.messaging


def _unprotect(platform: Platform, command: Command) -> Command | None:
    """Take the channel's protection off. Any error closes the channel; nothing of the command has happened.

    Amendment D §6.2 has each block of a chain protected. yubikit protects the whole command and then cuts it: a first
    block whose own C-MAC does not verify is kept for that (None), and all of them count or fall with the C-MAC at their
    end.
    """
    volatile = platform.volatile
    channel = volatile.channel
    if channel is None:
        volatile.chain = None
        raise CardStatus(command_name(command.ins), SW.SECURITY_STATUS_NOT_SATISFIED)
    value, cut, channel.cut = channel.chaining_value, channel.cut, None
    try:
        if cut is not None:
            if not cut.continues(command):
                # blocks that nobody ends were put in by somebody else
                raise CardStatus(command_name(command.ins), SW.SECURE_MESSAGING_INCORRECT)
            if _IS_CHAINED[command.cla]:
                cut.add(command)
                _keep_cut(volatile, channel, cut)
                return None
            command = cut.finish(command)._replace(extended=True)
        return channel.unprotect(command)
    except CardStatus:
        may_be_cut = _IS_CHAINED[command.cla] and command.ins in APPLICATIONS[volatile.selected].chained
        if may_be_cut and cut is None and volatile.chain is None and channel.chaining_value is value:
            _keep_cut(volatile, channel, Chain(command))
            return None
        volatile.chain = None
        volatile.end_channel()
        raise


def _keep_cut(volatile: Volatile, channel: Channel, cut: Chain) -> None:
    """Keep the blocks so far; as those of any chain they are no command yet."""
    channel.cut = cut
    volatile.count -= 1


def _keep_block(platform: Platform, command: Command) -> None:
    """Keep one block of a chain: not yet a command, so that VERIFY still stands immediately before it."""
    volatile = platform.volatile
    application = APPLICATIONS[volatile.selected]
    if command.ins not in application.chained:
        volatile.chain = None
        raise CardStatus(command_name(command.ins), SW.CHAINING_NOT_SUPPORTED)
    chain = volatile.chain
    if chain is not None and chain.continues(command):
        try:
            chain.add(command)
        except CardStatus:
            volatile.chain = None
            raise
    else:
        volatile.chain = Chain(command)
    volatile.count -= 1


def _end_chain(platform: Platform, command: Command) -> Command:
    """Join the last block with those before it; another command drops them, as if they had never come."""
    chain, platform.volatile.chain = platform.volatile.chain, None
    return chain.finish(command) if chain is not None and chain.continues(command) else command


def _run(platform: Platform, cla: int, command: Command) -> bytes:
    """Find the handler and let it act."""
    volatile = platform.volatile
    ins = command.ins
    life = platform.persistent.life[Owner.CARD]
    if life == _TERMINATED and ins not in _WHEN_TERMINATED:
        raise CardStatus(command_name(ins), SW.CONDITIONS_NOT_SATISFIED)
    if _IS_PROPRIETARY[cla]:
        if ins == _EXTERNAL_AUTHENTICATE and _IN_CHANNEL[cla]:
            return domain.external_authenticate(platform, command)
        handler = APPLICATIONS[volatile.selected].gp_handlers.get(ins)
    elif ins == _SELECT:
        return _select(platform, command)
    else:
        handler = APPLICATIONS[volatile.selected].handlers.get(ins)
    if handler is None:
        raise CardStatus(command_name(ins), SW.INS_NOT_SUPPORTED)
    return handler(platform, command)


def _select(platform: Platform, command: Command) -> bytes:
    """SELECT by AID, whole or right-truncated; another application clears the security status, the same keeps it."""
    aid = parse_select(command)
    application = _find(aid)
    life = platform.persistent.life
    if application is None:
        raise CardStatus("SELECT", SW.NOT_FOUND)
    for owner in application.owners:
        if life[owner] & _USABLE_BITS != _USABLE:
            raise CardStatus("SELECT", SW.NOT_FOUND)
    if application is not DOMAIN and life[Owner.CARD] == _CARD_LOCKED:
        raise CardStatus("SELECT", SW.FUNCTION_NOT_SUPPORTED)
    volatile = platform.volatile
    volatile.handshake = None
    if volatile.channel is not None:
        volatile.end_channel()
    if volatile.selected != application.aid:
        volatile.selected = application.aid
        # of all it knew only the Global PIN belongs to the whole card (SP 800-73pt2-5 §2.4.2)
        volatile.security = Security(global_pin=volatile.security.global_pin)
        close_session(platform)
    return application.select(platform)


def _find(aid: bytes) -> Application | None:
    if aid in APPLICATIONS:
        return APPLICATIONS[aid]
    if not aid:
        return DOMAIN
    if len(aid) < AID_BYTES_MIN:
        return None
    return next((one for one in APPLICATIONS.values() if one.aid.startswith(aid)), None)
