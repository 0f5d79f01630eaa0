"""Gives FFmpeg standard input as the file that it reads.

FFmpeg reads only through this class and has no protocols of its own, so that it cannot open what a recording names (the
parts of a playlist, a reference in a movie). If bytes cannot be read, FFmpeg takes that for the recording's end, so
that a failing disk would shorten the recording. So this class keeps such an error.
"""

import os
import sys


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

    def _is_beyond_the_end(self) -> bool:
        place = self.tell()
        end = self.seek(0, os.SEEK_END)
        self.seek(place, os.SEEK_SET)
        return 0 <= end <= place
