"""Hooks that adapt schemathesis to this API. schemathesis.toml names this module."""

from typing import Any

import schemathesis
from schemathesis.transport.serialization import Binary

from testing.recordings import tone

RECEIVERS = ("webhook_url", "callback_url")
# The document describes a stream of events as one text, and schemathesis compares each event with that.
LEFT_OUT = (*RECEIVERS, "stream")


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Replaces each file by a tone, because random bytes are no recording, and removes what LEFT_OUT names."""
    if not isinstance(body, dict):
        return body
    files = {name: tone() for name in ("file", "audio") if isinstance(body.get(name), Binary)}
    return {name: value for name, value in body.items() if name not in LEFT_OUT} | files if files else body


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Any, kwargs: Any) -> None:
    """Shortens `wait`, because a run must not wait a minute for each call."""
    try:
        wait = float((case.query or {})["wait"])
    except (KeyError, TypeError, ValueError):
        return
    if 0 <= wait <= 60:
        case.query["wait"] = wait / 600
