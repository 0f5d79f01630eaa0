"""Translates errors into answers that say whether the recording or this machine is at fault.

`app/audio/decode.py` reads the answers and raises them as errors of the service.
"""

import errno
import os
from typing import Any

from av.error import FFmpegError

from app.audio.decoder.memory import is_lack_of_memory

DISK_FULL = "disk_full"
UNAVAILABLE = "unavailable"
CANNOT_WRITE = "decoded audio cannot be written"


class Refused(Exception):
    """The recording cannot be used. `code` is the code of a MediaError in `app/errors.py`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def for_error(error: Exception) -> dict[str, Any]:
    """Returns the answer for a decoding that raised `error`."""
    if isinstance(error, Refused):
        return {"error": error.code, "detail": error.detail}
    if is_lack_of_memory(error):
        return trouble(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "no memory to decode with")
    if isinstance(error, ImportError):
        return {"error": UNAVAILABLE, "errno": errno.ENOENT, "detail": f"{error.name} should have been imported before"}
    if isinstance(error, OSError) and not isinstance(error, FFmpegError):
        return trouble(error, CANNOT_WRITE)
    return {"error": "bad_media", "detail": "The recording is broken"}


def trouble(error: OSError, what: str) -> dict[str, Any]:
    """Returns the answer for an error that is this machine's fault, so that the recording is not refused for it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"error": DISK_FULL}
    return {"error": UNAVAILABLE, "errno": error.errno, "detail": f"{what}: {error.strerror}"}
