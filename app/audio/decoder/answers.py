"""Errors as answers: an error is the recording's fault or this machine's, and the service must know which.

It must not know what was decoded. `app/audio/decode.py` reads the answers.
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
    """The recording cannot be used; `code` is a code of app.errors."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def for_error(error: Exception) -> dict[str, Any]:
    """The answer if decoding raised `error`."""
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
    """The answer if this machine is at fault, so that the recording is not refused for it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"error": DISK_FULL}
    return {"error": UNAVAILABLE, "errno": error.errno, "detail": f"{what}: {error.strerror}"}
