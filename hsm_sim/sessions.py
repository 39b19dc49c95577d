"""An open SCP03 session and what the HSM remembers beside its channel."""

from dataclasses import dataclass, field

from cardlink.gp.host_channel import HostChannel
from hsm_sim.keys import Use


@dataclass(slots=True)
class CardSession:
    """One session of one job with one card: `label` names the key that opened it.

    `kvn` is the newest key version known on the card.
    """

    channel: HostChannel
    job: str
    label: str
    use: Use
    kdd: bytes
    kvn: int
    dek: bytes = field(repr=False)
    put_keys_answer: bytes = b""
