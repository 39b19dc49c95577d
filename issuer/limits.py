"""How often one address may ask: token buckets, bounded in number."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

MAX_ADDRESSES = 20_000


@dataclass(slots=True)
class RateLimit:
    """`burst` questions at once, then `per_second`, for each address. The oldest addresses are forgotten.

    Any thread may ask.
    """

    per_second: float
    burst: int
    buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def wait_s(self, address: str, monotonic_s: float) -> float:
        """Take a token and answer 0, or answer how long to wait for one."""
        with self.guard:
            tokens, since = self.buckets.pop(address, (float(self.burst), monotonic_s))
            tokens = min(float(self.burst), tokens + (monotonic_s - since) * self.per_second)
            wait = 0.0 if tokens >= 1 else (1 - tokens) / self.per_second
            self.buckets[address] = (tokens - 1 if wait == 0 else tokens, monotonic_s)
            if len(self.buckets) > MAX_ADDRESSES:
                self.buckets.popitem(last=False)
            return wait
