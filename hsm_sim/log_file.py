"""The file under the log: lines are put into room that is there already, through memory.

A line in front of every operation is written while somebody waits for the answer. Where it made the file grow, it would
wait for the file system's journal and for each flush that is under way; so the file ends in zeros, made and brought to
the disk beforehand, and a line is copied over them through a shared mapping. What was copied survives the process. What
is whole ends where the lines do: nothing of a line is zero. Closing takes the rest of the room away.

Whoever cuts the file off under a running HSM ends it (SIGBUS): no log, no operation.
"""

import mmap
import os
import threading
from pathlib import Path
from typing import BinaryIO

ROOM_BYTES = 1 << 16
ROOM_MAX_BYTES = 1 << 22
READ_BYTES = 1 << 16
PAGE_BYTES = mmap.ALLOCATIONGRANULARITY
ZERO = b"\0"


class LogFile:
    """A file that is written from its front on. `put` is for one thread at a time; the rest any may call."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.is_open = True
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._room_bytes = ROOM_BYTES
        self._growing = threading.Lock()
        self._end = self._begin = self._mapped_to = 0
        self._map: mmap.mmap | None = None
        self._lost: OSError | None = None

    def begin(self, size_bytes: int) -> None:
        """Cut off what follows the whole lines; they have `size_bytes`."""
        os.ftruncate(self._file, size_bytes)
        self._end = self._mapped_to = size_bytes

    def put(self, line: bytes, at: int) -> None:
        """Put a line behind those that are there. OSError when the disk has no room; then nothing has changed."""
        end = at + len(line)
        if end > self._mapped_to or self._map is None:
            self._map_to(at, end)
        self._map[at - self._begin : end - self._begin] = line  # type: ignore[index]  # mapped above

    def _map_to(self, at: int, end: int) -> None:
        """Map the room from `at` to at least `end`."""
        if end > self._end:
            self.grow(at, end)
        before, self._map = self._map, None
        if before is not None:
            before.close()
        self._begin = at - at % PAGE_BYTES
        self._mapped_to = self._end
        self._map = mmap.mmap(self._file, self._mapped_to - self._begin, offset=self._begin)

    def grow(self, at: int, least: int = 0) -> None:
        """Have room behind `at`: zeros up to `least` and further, on the disk on return. OSError without up to `least`.

        Nothing is done while a quarter of the last room is left. Each room is twice the one before, but never more than
        a quarter of what the disk has left: the store lies there too.
        """
        with self._growing:
            if self._end >= max(least, min(at + self._room_bytes // 4, self._max_bytes)):
                return
            disk = os.fstatvfs(self._file)
            room = min(self._room_bytes, disk.f_bavail * disk.f_frsize // 4)
            end, wanted = self._end, max(least, min(at + room, self._max_bytes))
            try:
                while end < wanted:
                    end += os.pwrite(self._file, ZERO * (wanted - end), end)
            except OSError:
                self._room_bytes = ROOM_BYTES
                if end < least or end == self._end:
                    raise
            else:
                self._room_bytes = min(2 * self._room_bytes, ROOM_MAX_BYTES)
            if end == self._end:
                return
            try:
                os.fsync(self._file)
            except OSError as error:
                self._lost = error  # it may have been about lines; the kernel says so once
                raise
            self._end = end

    def flush(self) -> None:
        """Bring every line to the disk. OSError when nobody knows what is there."""
        if self._lost is not None:
            raise self._lost
        os.fdatasync(self._file)  # the room's size is there already; when it was written may wait

    def cut(self, size_bytes: int) -> None:
        """Take the room away: `size_bytes` are lines."""
        if self._map is not None:
            self._map.close()
            self._map = None
        os.ftruncate(self._file, size_bytes)

    def close(self) -> None:
        """Close the file as it is; twice is once."""
        if self.is_open:
            self.is_open = False
            os.close(self._file)


def end_of_lines(file: BinaryIO) -> int:
    """Where the room begins: behind the last byte of a file that is not zero."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - READ_BYTES)
        file.seek(begin)
        kept = len(file.read(end - begin).rstrip(ZERO))
        if kept:
            return begin + kept
        end = begin
    return 0
