"""What all streams of events (`text/event-stream`) share: their headers, their form, and signs of life.

It must not know what the events say.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second is for nginx, which would buffer events
QUIET_SECONDS = 15.0
TROUBLE_PAUSE_SECONDS = 1.0

# JSON allows these characters, but some clients take them for the end of a line.
LINE_BREAKS = {ord(character): f"\\u{ord(character):04x}" for character in "\u0085\u2028\u2029"}


class Pulse:
    """Knows when a stream has been quiet for too long."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def sent(self) -> None:
        self._last = time.monotonic()

    @property
    def due_in(self) -> float:
        return max(0.0, self._last + QUIET_SECONDS - time.monotonic())


def data_of(event: Mapping[str, Any]) -> str:
    """Returns an event as its line of data and the empty line that ends it."""
    text = json.dumps(event, ensure_ascii=False)
    return f"data: {text.translate(LINE_BREAKS)}\n\n"


def named(number: int, event: Mapping[str, Any]) -> str:
    """Returns an event with its number and its type, so that `EventSource` knows both."""
    return f"id: {number}\nevent: {event['type']}\n{data_of(event)}"
