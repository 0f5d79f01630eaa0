"""Our own dialect: JSON objects with a `type` as text frames, and sound as binary frames. Pure.

Some clients begin with `auth`, send 16 kHz mono sound and read the text of what they get. They may send fields that we
do not know, and every object that they get has a `text`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.api.live.dialects.asking import given, is_field, new_call
from app.api.live.dialects.frames import LONGEST_SHOWN, as_text, error_frames, object_of
from app.api.live.dialects.incoming import Auth, Frame, Heard, Incoming, Start, StillThere, Stop
from app.errors import AppError, FieldError, InvalidRequest
from app.live.events import LiveEvent

TYPES = ("auth", "start", "keep_alive", "stop")


class OwnDialect:
    """`from_url` are the values of fields in the connection's URL. Those of the first frame come before them."""

    name = "own"

    def __init__(self, from_url: Mapping[str, Any]) -> None:
        self._from_url = from_url
        self._has_started = False
        self._always_text = False

    def greet(self) -> Sequence[Frame]:
        return []

    def read(self, frame: Frame) -> Sequence[Incoming]:
        if isinstance(frame, bytes):
            return [Heard(frame)]
        values = object_of(frame)
        kind = values.pop("type", None)
        match kind:
            case "auth" | "start":
                return self._begin(values, is_auth=kind == "auth")
            case "keep_alive":
                return [StillThere()]
            case "stop":
                return [Stop()]
        raise _refused("type", f"{str(kind)[:LONGEST_SHOWN]!r} is not known: send one of {', '.join(TYPES)}")

    def write(self, event: LiveEvent) -> Sequence[Frame]:
        fields = event.as_json()
        return [as_text({"text": "", **fields} if self._always_text else fields)]

    def settle(self) -> Sequence[Frame]:
        return []

    def refuse(self, error: AppError) -> Sequence[Frame]:
        return error_frames(error)

    def _begin(self, values: dict[str, Any], *, is_auth: bool) -> Sequence[Incoming]:
        if self._has_started:
            raise InvalidRequest("The call has begun already. Send `auth` or `start` once, as the first frame.")
        self._has_started, self._always_text = True, is_auth
        key = values.pop("api_key", None)
        if key is not None and not isinstance(key, str):
            raise _refused("api_key", "must be text")
        if is_auth:
            values = {name: value for name, value in values.items() if is_field(name)}
        start = Start(new_call({**self._from_url, **given(values)}, self.name, can_resume=not is_auth))
        return [start] if key is None else [Auth(key), start]


def _refused(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The frame cannot be read.", errors=(FieldError(field, detail),))
