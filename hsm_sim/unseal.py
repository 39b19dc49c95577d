"""A started HSM that is still sealed: it waits at its socket for shares, and does nothing else.

Each holder enters a share from a terminal of their own: `["unseal", share]` is answered `[true, have, needed]`. The
shares are in no file and no command line; who saw all but one knows nothing.
"""

import logging
import socket
from collections.abc import Callable, Collection

from hsm_sim.errors import BadRequest, Denied, HsmError
from hsm_sim.frames import FrameSocket
from hsm_sim.server import next_connection, peer_uid
from hsm_sim.shares import Gathering

log = logging.getLogger(__name__)

UNSEAL = "unseal"
ANSWER_WAIT_S = 60.0


def gather(
    listener: socket.socket, wake: socket.socket, allowed_uids: Collection[int], opens: Callable[[bytes], None]
) -> None:
    """Take shares until they open the store. `opens` raises HsmError for a secret that does not; then all begins anew.

    Raises OSError when the listener is closed.
    """
    gathering = Gathering()
    while True:
        connected = next_connection(listener, wake)
        secret: bytes | None = None
        with connected:
            connected.settimeout(ANSWER_WAIT_S)
            frames = FrameSocket(connected)
            try:
                uid = peer_uid(connected)
                if uid not in allowed_uids:
                    raise Denied(f"user {uid} may not use this HSM")
                secret = _take(frames, gathering)
                if secret is not None:
                    opens(secret)
                frames.send([True, gathering.count, gathering.needed])
                log.info("hsm share taken uid=%d have=%d needed=%d", uid, gathering.count, gathering.needed)
            except HsmError as error:
                log.warning("hsm share refused reason=%s", error.code)
                _answer(frames, error)
                if gathering.needed and gathering.count >= gathering.needed:
                    gathering = Gathering()
                continue
            except OSError as error:
                log.debug("hsm holder left reason=%s", error)
                if secret is None:
                    continue
            if secret is not None:
                return


def _take(frames: FrameSocket, gathering: Gathering) -> bytes | None:
    match frames.receive():
        case [first, str(share)] if first == UNSEAL:
            return gathering.add(share)
    raise BadRequest("the HSM is sealed: it takes shares and nothing else (hsm-sim unseal)", "share.sealed")


def _answer(frames: FrameSocket, error: HsmError) -> None:
    try:
        frames.send(error.to_wire())
    except OSError as gone:
        log.debug("hsm holder did not wait for %s: %s", error.code, gone)
