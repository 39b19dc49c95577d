"""From APDU to handler and back: class byte, secure channel, chaining, GET RESPONSE, and the one place that writes SW.

A protected command is checked block by block (the host chains first and protects each block); an answer is protected
whole and then cut (GlobalPlatform Amendment D §6.2; SP 800-73pt2-5 §4.2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from cardlink.errors import CardStatus, Malformed
from cardlink.gp.inventory import AppState, LifeCycle
from cardlink.iso7816.apdu import SHORT_NE_MAX, Command, Ins, command_name, decode_command
from cardlink.iso7816.cla import CLA_TABLE, Cla, ClaKind, SecureMessaging
from cardlink.iso7816.sw import SUCCESS_BYTES, SW
from cardlink.piv.commands import parse_select
from cardos.buffers import Chain
from cardos.door import applet as door
from cardos.errors import StoreFailed
from cardos.gp import domain
from cardos.piv import applet
from cardos.records import Owner
from cardos.state import Handler, Platform, Security

# As plain numbers: each command asks for them, and an attribute of an enumeration goes through its metaclass.
_GET_RESPONSE, _EXTERNAL_AUTHENTICATE, _SELECT = int(Ins.GET_RESPONSE), int(Ins.EXTERNAL_AUTHENTICATE), int(Ins.SELECT)
_TERMINATED, _CARD_LOCKED = int(LifeCycle.TERMINATED), int(LifeCycle.CARD_LOCKED)
_PROPRIETARY = SecureMessaging.PROPRIETARY
AID_BYTES_MIN = 5  # shorter than an RID names nobody


@dataclass(frozen=True, slots=True)
class Application:
    """One selectable application: its commands of the interindustry class, and those of GlobalPlatform's."""

    aid: bytes
    select: Callable[[Platform], bytes]
    handlers: MappingProxyType[int, Handler]
    gp_handlers: MappingProxyType[int, Handler]
    chained: frozenset[int]


PIV = Application(applet.AID, applet.select, applet.HANDLERS, applet.GP_HANDLERS, applet.CHAINED)
DOMAIN = Application(domain.AID, domain.select, domain.HANDLERS, domain.GP_HANDLERS, domain.CHAINED)
DOOR = Application(door.AID, door.select, door.HANDLERS, door.GP_HANDLERS, door.CHAINED)
APPLICATIONS = MappingProxyType({one.aid: one for one in (PIV, DOMAIN, DOOR)})
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
    cla = CLA_TABLE[command.cla]
    if cla.value:
        _require_class(cla, command)
    if command.ins == _GET_RESPONSE and not cla.value:
        volatile.chain = None
        return volatile.outgoing.next(command.le or SHORT_NE_MAX)
    if volatile.outgoing.rest:
        volatile.outgoing.clear()
    channel = None
    if cla.secure_messaging is _PROPRIETARY and command.ins != _EXTERNAL_AUTHENTICATE:
        command = _unprotect(platform, command)
        channel = volatile.channel
    elif volatile.channel is not None and command.ins not in _CLEAR_IN_CHANNEL:
        volatile.channel = None
        if command.ins != _EXTERNAL_AUTHENTICATE:
            raise CardStatus(command_name(command.ins), SW.SECURITY_STATUS_NOT_SATISFIED)
    try:
        if cla.chained:
            _keep_block(platform, command)
            data = b""
        else:
            if volatile.chain is not None:
                command = _end_chain(platform, command)
            data = _run(platform, cla, command)
    except Malformed as error:
        raise CardStatus(command_name(command.ins), SW.INCORRECT_DATA) from error
    if channel is not None:
        data = channel.protect(data, SW.SUCCESS)
    size = command.le or SHORT_NE_MAX
    if len(data) <= size:
        return data + SUCCESS_BYTES
    return volatile.outgoing.send(data, size)


def _require_class(cla: Cla, command: Command) -> None:
    """Refuse what this card does not speak: other channels, other protection, other people's classes."""
    name = command_name(command.ins)
    if cla.kind in (ClaKind.INVALID, ClaKind.RESERVED, ClaKind.PROPRIETARY):
        raise CardStatus(name, SW.CLA_NOT_SUPPORTED)
    if cla.channel:
        raise CardStatus(name, SW.LOGICAL_CHANNEL_NOT_SUPPORTED)
    if cla.secure_messaging in (SecureMessaging.ISO, SecureMessaging.ISO_HEADER):
        raise CardStatus(name, SW.SECURE_MESSAGING_NOT_SUPPORTED)


def _unprotect(platform: Platform, command: Command) -> Command:
    """Take the channel's protection off. Any error closes the channel; nothing of the command has happened."""
    volatile = platform.volatile
    channel = volatile.channel
    if channel is None:
        raise CardStatus(command_name(command.ins), SW.SECURITY_STATUS_NOT_SATISFIED)
    try:
        return channel.unprotect(command)
    except CardStatus:
        volatile.channel = volatile.chain = None
        raise


def _keep_block(platform: Platform, command: Command) -> None:
    """Keep one block of a chain: not yet a command, so that VERIFY still stands immediately before it."""
    volatile = platform.volatile
    application = APPLICATIONS[volatile.selected]
    if command.ins not in application.chained:
        volatile.chain = None
        raise CardStatus(command_name(command.ins), SW.CHAINING_NOT_SUPPORTED)
    volatile.count -= 1
    chain = volatile.chain
    if chain is not None and chain.continues(command):
        try:
            chain.add(command)
        except CardStatus:
            volatile.chain = None
            raise
    else:
        volatile.chain = Chain(command)


def _end_chain(platform: Platform, command: Command) -> Command:
    """Join the last block with those before it; another command drops them, as if they had never come."""
    chain, platform.volatile.chain = platform.volatile.chain, None
    return chain.finish(command) if chain is not None and chain.continues(command) else command


def _run(platform: Platform, cla: Cla, command: Command) -> bytes:
    """Find the handler and let it act."""
    volatile = platform.volatile
    ins = command.ins
    life = platform.persistent.life[Owner.CARD]
    if life == _TERMINATED and ins not in _WHEN_TERMINATED:
        raise CardStatus(command_name(ins), SW.CONDITIONS_NOT_SATISFIED)
    if cla.value and cla.is_proprietary:
        if ins == _EXTERNAL_AUTHENTICATE and cla.secure_messaging is _PROPRIETARY:
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
    # the door application acts with PIV's credential and key, so what locks PIV locks it
    if application is not DOMAIN and life[Owner.PIV] & AppState.LOCKED:
        raise CardStatus("SELECT", SW.NOT_FOUND)
    if application is not DOMAIN and life[Owner.CARD] == _CARD_LOCKED:
        raise CardStatus("SELECT", SW.FUNCTION_NOT_SUPPORTED)
    volatile = platform.volatile
    volatile.channel = volatile.handshake = None
    if volatile.selected != application.aid:
        volatile.selected = application.aid
        volatile.security = Security()
    return application.select(platform)


def _find(aid: bytes) -> Application | None:
    if aid in APPLICATIONS:
        return APPLICATIONS[aid]
    if not aid:
        return DOMAIN
    if len(aid) < AID_BYTES_MIN:
        return None
    return next((one for one in APPLICATIONS.values() if one.aid.startswith(aid)), None)
