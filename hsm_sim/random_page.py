"""Random bytes of the HSM, fetched a page at a time: a call for each challenge would cost more than its 8 bytes do.

What lies ready here is known to this process alone, is given out once, and is not there for a child after a fork. Bytes
that must not be known before their use, as those of a key, never come from here: keys are made inside the HSM.
"""

import os
import threading
from collections.abc import Callable

PAGE_BYTES = 4096


class RandomPage:
    """Hands out random bytes, each once. Any thread may ask."""

    def __init__(self, fetch: Callable[[int], bytes]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._page = bytearray()
        self._process = os.getpid()

    def take(self, size: int) -> bytes:
        """So many bytes that nobody got before; more than a page are fetched for this call alone."""
        if not 0 < size <= PAGE_BYTES:
            return self._fetch(size)
        with self._lock:
            if self._process != os.getpid():
                self._page, self._process = bytearray(), os.getpid()
            if len(self._page) < size:
                self._page = bytearray(self._fetch(PAGE_BYTES))
            taken = bytes(self._page[-size:])
            del self._page[-size:]
            return taken
