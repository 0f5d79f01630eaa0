"""Standard input as the file that FFmpeg reads.

FFmpeg reads through this and has no protocol of its own, so that it cannot open what a file names (the parts of a
playlist, a reference in a movie). It also treats bytes that cannot be read as the recording's end, so that a failing
disk would shorten the recording; this class keeps such an error.
"""

import os
import sys


class Recording:
    """A file for PyAV. `trouble` is the error of the disk, if there was one; PyAV raises it again."""

    def __init__(self) -> None:
        self.trouble: OSError | None = None

    def read(self, size: int) -> bytes:
        """Returns nothing beyond the end. Broken recordings name such places, and some file systems refuse to read."""
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
