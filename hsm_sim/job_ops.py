"""Operations on jobs: one card each, opened by the role that allocates them; and the PIN made for a job's card.

Who encodes cards does not also say how many, which, and whose PIN is told.
"""

from dataclasses import replace
from typing import Any

from cardlink.gp.loading import make_card_pin
from hsm_sim.core import Hsm, Peer, Spec, Target, no_key
from hsm_sim.errors import BadRequest, Denied, NoSuchKey, NotAllocated
from hsm_sim.meter import DAY_S, TELLING_PINS
from hsm_sim.policy import Op
from hsm_sim.sessions import CardSession
from hsm_sim.store import Job, State

JOB_MAX_CHARS = 64
JOB_OPEN_S = 30 * DAY_S
"""How long an allocated job is open at most: not every card that is begun is done, and nobody ends the job of such."""
PIN_WINDOW_S = 900
"""How long a PIN may be told after the allocator has let it."""


def check_claim(hsm: Hsm, job: str, kdd: bytes) -> Job | None:
    """The job as it is known, if this card may be worked on for it. Raises Denied, NotAllocated.

    Where an allocator has a PIN, a job must have been allocated by that role: who encodes cards does not also say how
    many, and which. Where there is none, any job will do (stores of before, and devices without that role).
    """
    known = hsm.state.jobs.get(job)
    if (known is None or not known.is_allocated) and hsm.has_allocator:
        raise NotAllocated(f"job {job} was not allocated")
    if known is not None and known.is_ended:
        raise NotAllocated(f"job {job} has ended")
    if known is not None and _is_over(known, hsm.clock_s()) and hsm.has_allocator:
        raise NotAllocated(f"job {job} has ended: it was allocated too long ago")
    if known is not None and known.kdd and known.kdd != kdd:
        raise Denied(f"job {job} belongs to another card")
    return known


def _is_over(job: Job, now_s: float) -> bool:
    return 0 < job.open_until <= now_s


def bind_job(hsm: Hsm, job: str, kdd: bytes) -> None:
    """Bind an allocated job that named no card to the first one that has proved its keys in it.

    The claim is looked at again: another card may have been quicker. Raises Denied, NotAllocated.
    """

    def bind(state: State) -> State:
        known = check_claim(hsm, job, kdd)
        return state if known is None else replace(state, jobs={**state.jobs, job: replace(known, kdd=kdd)})

    known = check_claim(hsm, job, kdd)
    if known is not None and not known.kdd:
        hsm.change(bind)


def _allocate(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    """Open a job for one card: the one named, or where none is, the first it is used with.

    Again for an open one: it stays open for as long from then on; one that has ended is opened again.
    """
    job, kdd = args
    until = int(hsm.clock_s()) + JOB_OPEN_S
    if not 1 <= len(job) <= JOB_MAX_CHARS or not job.isprintable() or " " in job:
        raise BadRequest(f"a job has 1 to {JOB_MAX_CHARS} characters and no blank")

    def is_there(state: State) -> bool:
        known = state.jobs.get(job)
        if known is not None and kdd and known.kdd and known.kdd != kdd:
            raise Denied(f"job {job} belongs to another card")
        if known is None or not known.is_allocated or known.is_ended or known.open_until < until - DAY_S:
            return False
        return known.kdd == kdd or not kdd

    def open_job(state: State) -> State:
        if is_there(state):
            return state
        known = state.jobs.get(job, Job(b"", b""))
        opened = replace(known, kdd=kdd or known.kdd, is_allocated=True, is_ended=False, open_until=until)
        return replace(state, jobs={**state.jobs, job: opened})

    if not is_there(hsm.state):
        hsm.change(open_job)


def _end_job(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    """The card of a job is done: no channel is opened for it any more. Its PIN waits, unless it is forgotten.

    No such job, or one that has ended: nothing more.
    """
    job, forgets_pin = args

    def end(state: State) -> State:
        known = state.jobs.get(job)
        left = {name: one for name, one in state.jobs.items() if name != job}
        if known is not None and known.pin and not forgets_pin:
            left[job] = replace(known, is_ended=True)
        return replace(state, jobs=left)

    known = hsm.state.jobs.get(job)
    if known is not None and not (known.is_ended and not forgets_pin):
        hsm.change(end)


def _allow_pin(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> int:
    """Let the PIN of one job be told, once and soon. Answers until when (UTC seconds)."""
    until = int(hsm.clock_s()) + PIN_WINDOW_S

    def allow(state: State) -> State:
        known = state.jobs.get(args[0])
        if known is None or not known.pin:
            raise NoSuchKey(f"no PIN for job {args[0]}")
        return replace(state, jobs={**state.jobs, args[0]: replace(known, pin_until=until)})

    hsm.change(allow)
    return until


def pin_of(hsm: Hsm, session: CardSession) -> bytes:
    """The job's PIN, made once: a torn personalisation goes on with the same one."""
    pin = b""

    def make(state: State) -> State:
        nonlocal pin
        known = check_claim(hsm, session.job, session.kdd)  # also for a session older than the job's end
        if known and known.pin:
            pin = known.pin
            return state
        pin = make_card_pin(hsm.random)
        job = replace(known, pin=pin) if known else Job(session.kdd, pin)
        return replace(state, jobs={**state.jobs, session.job: job})

    known = hsm.state.jobs.get(session.job)
    if known and known.kdd == session.kdd and known.pin:
        return known.pin
    hsm.change(make)
    return pin


def _reveal_pin(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> str:
    """Give the job's PIN out, once: it is gone from the store before it is told.

    Where an allocator has a PIN, that role must have let this one be told, a short time ago at most.
    """
    found: Job | None = None

    def take(state: State) -> State:
        nonlocal found
        found = state.jobs.get(args[0])
        if found is None or not found.pin:
            raise NoSuchKey(f"no PIN for job {args[0]}")
        if hsm.has_allocator and not hsm.clock_s() < found.pin_until:
            raise NotAllocated(f"nobody lets the PIN of job {args[0]} be told now")
        return replace(state, jobs={name: job for name, job in state.jobs.items() if name != args[0]})

    hsm.change(take)
    if found is None:
        raise NoSuchKey(f"no PIN for job {args[0]}")
    return found.pin.decode()


S, B, Y = (str,), (bytes,), (bool,)
JOB_SPECS: dict[str, Spec] = {
    Op.ALLOCATE: Spec((S, B), no_key, _allocate, lambda args: args[1].hex()[:64]),
    Op.ALLOW_PIN: Spec((S,), no_key, _allow_pin),
    Op.END_JOB: Spec((S, Y), no_key, _end_job, lambda args: "pin forgotten" if args[1] else ""),
    Op.REVEAL_PIN: Spec((S,), no_key, _reveal_pin, counted=TELLING_PINS),
}
