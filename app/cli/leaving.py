"""The last step of commands: the end of the process."""

import os
import sys
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """Ends the process. It does not wait for threads, because they may be in the middle of something long."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
