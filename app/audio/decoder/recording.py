"""Gives FFmpeg standard input, or sections of it, as the files that it reads.

FFmpeg reads only through these classes and has no protocols of its own, so that it cannot open what a recording names
(the parts of a playlist, a reference in a movie). If bytes cannot be read, FFmpeg takes that for the recording's end,
so that a failing disk would shorten the recording. So `Recording` keeps such an error.
"""

import os
import re
import sys
from collections.abc import Iterator

SCAN_BYTES = 1 << 20
FIRST_BYTES = 4096  # of a stream, as many as are looked at to find out whether it is text


class Recording:
    """A file for PyAV. `trouble` is the error of the disk if there was one, and the answer has to report it."""

    def __init__(self) -> None:
        self.trouble: OSError | None = None

    def read(self, size: int) -> bytes:
        """Returns no bytes beyond the end. Broken recordings name such places, and some file systems refuse them."""
        try:
            return os.read(sys.stdin.fileno(), size)
        except OSError as error:
            if self._is_beyond_the_end():
                return b""
            self.trouble = error
            raise

    def read_at(self, place: int, size: int) -> bytes:
        """Returns up to `size` bytes, and fewer only at the recording's end."""
        self.seek(place, os.SEEK_SET)
        found = b""
        while len(found) < size and (more := self.read(size - len(found))):
            found += more
        return found

    def seek(self, offset: int, whence: int) -> int:
        """Returns -1 for a place that no file has, because broken recordings name such places."""
        try:
            return os.lseek(sys.stdin.fileno(), offset, whence)
        except OSError:
            return -1

    def tell(self) -> int:
        return self.seek(0, os.SEEK_CUR)

    def seekable(self) -> bool:
        return self.tell() >= 0

    def size(self) -> int:
        """Returns the number of bytes, or -1 if this is not known. Reading continues where it was."""
        place = self.tell()
        end = self.seek(0, os.SEEK_END)
        self.seek(place, os.SEEK_SET)
        return end

    def left(self) -> int:
        """Returns how many bytes have not been read."""
        return max(0, self.size() - self.tell())

    def find(self, pattern: re.Pattern[bytes], longest: int, start: int) -> Iterator[int]:
        """Yields every place from `start` on where the pattern matches. A match has at most `longest` bytes."""
        place = start
        while len(block := self.read_at(place, SCAN_BYTES + longest - 1)) > 0:
            for match in pattern.finditer(block):
                if match.start() < SCAN_BYTES:
                    yield place + match.start()
            place += SCAN_BYTES

    def _is_beyond_the_end(self) -> bool:
        place = self.tell()
        return 0 <= self.size() <= place


class Stream(Recording):
    """Standard input as a pipe whose bytes are still to come. Its first bytes can be read again."""

    def __init__(self) -> None:
        super().__init__()
        self._first = b""
        self._again = b""

    def head(self, size: int) -> bytes:
        """Returns the first `size` bytes, and fewer only if the stream ends before. Reading begins with them again."""
        while len(self._first) < size and self.read(size - len(self._first)):
            pass
        self._again = self._first
        return self._first[:size]

    def read(self, size: int) -> bytes:
        if self._again:
            found, self._again = self._again[:size], self._again[size:]
            return found
        found = super().read(size)
        self._first += found[: FIRST_BYTES - len(self._first)]
        return found

    def seek(self, offset: int, whence: int) -> int:
        """Goes back to the first bytes, or returns -1."""
        if (offset, whence) != (0, os.SEEK_SET):
            return -1
        self._again = self._first
        return 0


class Section:
    """The bytes from `start` to `end` of a recording after a `header` of our own, as a file for PyAV."""

    def __init__(self, recording: Recording, start: int, end: int, header: bytes = b"") -> None:
        self._recording = recording
        self._start = start
        self._header = header
        self._place = 0
        self.size = len(header) + end - start

    def left(self) -> int:
        """Returns how many bytes have not been read."""
        return max(0, self.size - self._place)

    def read(self, size: int) -> bytes:
        size = min(size, self.size - self._place)
        if size <= 0:
            return b""
        if self._place < len(self._header):
            found = self._header[self._place : self._place + size]
        else:
            self._recording.seek(self._start + self._place - len(self._header), os.SEEK_SET)
            found = self._recording.read(size)
        self._place += len(found)
        return found

    def seek(self, offset: int, whence: int) -> int:
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}.get(whence, offset)
        if place < 0:
            return -1
        self._place = place
        return place

    def tell(self) -> int:
        return self._place

    def seekable(self) -> bool:
        return True
