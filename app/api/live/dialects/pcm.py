"""Sound in binary frames after a first text frame with whatever the phone system knows about the call. Pure.

FreeSWITCH (mod_audio_stream, mod_audio_fork), jambonz, Vonage and Asterisk (chan_websocket) speak so. The URL of the
connection says what the sound is, unless the first frame announces it.

https://docs.jambonz.org/verbs/verbs/listen
https://developer.vonage.com/voice/voice-api/concepts/websockets
https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.api.live.dialects.asking import new_call
from app.api.live.dialects.frames import (
    about_left_out,
    error_frames,
    object_of,
    own_frames,
    sound_of,
    whole_number,
    with_metadata,
)
from app.api.live.dialects.incoming import Frame, Heard, HeardTrack, Incoming, Start, Stop
from app.errors import AppError, FieldError, InvalidRequest
from app.live.events import LiveEvent

ASTERISK = "MEDIA_START"
VONAGE = "websocket:connected"
SAYS_SOUND = frozenset({"encoding", "sample_rate", "channels"})
STEREO = "stereo"


class PcmDialect:
    """`from_url` are the values of fields in the connection's URL. `leg` is the call and the channel that they name.

    Asterisk and Vonage take text frames for commands. So they get events only if `sends_events` is true. All others
    get them unless it is false.
    """

    name = "pcm"

    def __init__(
        self, from_url: Mapping[str, Any], *, leg: tuple[str, int] | None = None, sends_events: bool | None = None
    ) -> None:
        self._from_url = dict(from_url)
        self._leg = leg
        self._sends_events = sends_events
        self._takes_commands = False
        self._has_started = False

    def greet(self) -> Sequence[Frame]:
        return []

    def read(self, frame: Frame) -> Sequence[Incoming]:
        if isinstance(frame, bytes):
            begun = [] if self._has_started else self._begin_without_metadata()
            return [*begun, Heard(frame) if self._leg is None else HeardTrack(self._leg[1], frame)]
        if self._has_started:
            return _later(frame)
        if frame.startswith(ASTERISK):
            return self._begin(_asterisk(frame))
        if not frame.lstrip().startswith("{"):
            self._require_sound("The first frame is no JSON object")
            return self._begin({"text": frame})
        return self._begin(object_of(frame))

    def write(self, event: LiveEvent) -> Sequence[Frame]:
        sends = not self._takes_commands if self._sends_events is None else self._sends_events
        return own_frames(event) if sends else []

    def settle(self) -> Sequence[Frame]:
        return []

    def refuse(self, error: AppError) -> Sequence[Frame]:
        return [] if self._takes_commands and not self._sends_events else error_frames(error)

    def _begin_without_metadata(self) -> Sequence[Incoming]:
        self._require_sound("The first frame is binary")
        return self._begin({})

    def _begin(self, known: Mapping[str, Any]) -> Sequence[Incoming]:
        self._has_started = True
        self._takes_commands = known.get("event") in (ASTERISK, VONAGE)
        values = {**self._from_url, **self._announced(known)}
        values["metadata"], left_out = with_metadata(values.get("metadata", {}), known)
        shared_as = None
        if self._leg is not None:
            shared_as, values["channels"] = self._leg[0], 2
        return [Start(new_call(values, self.name), shared_as), *about_left_out(left_out)]

    def _announced(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that the first frame says. The URL comes before what jambonz and others only mention."""
        if known.get("event") == ASTERISK:
            return sound_of(known.get("format"))
        if known.get("event") == VONAGE and "content-type" in known:
            return sound_of(known["content-type"])
        values: dict[str, Any] = {}
        if "mixType" in known:
            values = {
                "sample_rate": whole_number(known.get("sampleRate")),
                "channels": 1 + (known["mixType"] == STEREO),
            }
        return {name: value for name, value in values.items() if name not in self._from_url and value is not None}

    def _require_sound(self, what: str) -> None:
        if SAYS_SOUND.isdisjoint(self._from_url):
            raise InvalidRequest(
                f"{what}, and the URL does not say what the sound is. Begin with a JSON object, or add parameters such "
                "as ?encoding=pcm_s16le&rate=8000 to the URL."
            )


def leg_of(call: str | None, channel: str | None) -> tuple[str, int] | None:
    """The call and the channel that the URL of a track names. Raises InvalidRequest."""
    if call is None and channel is None:
        return None
    if not call or len(call) > 255:
        raise _refused("call", "must name the call, with at most 255 characters, if there is a channel")
    if channel not in ("0", "1"):
        raise _refused("channel", "must be 0 or 1 if there is a call")
    return call, int(channel)


def _later(frame: str) -> Sequence[Incoming]:
    """Digits, marks and other events have no meaning here, but a client may end its call."""
    if frame.lstrip().startswith("{"):
        values = object_of(frame)
        return [Stop()] if values.get("type") == "stop" else []
    return []


def _asterisk(frame: str) -> dict[str, Any]:
    """Reads `MEDIA_START connection_id:1 format:ulaw …`. Asterisk's JSON has the same names."""
    known = {name: value for name, _, value in (word.partition(":") for word in frame.split()[1:]) if name}
    return {"event": ASTERISK, **known}


def _refused(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The URL of the connection is not valid.", errors=(FieldError(field, detail),))
