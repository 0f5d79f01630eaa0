"""Twilio Media Streams, and the phone systems that send nearly the same: SignalWire, Talkdesk, Telnyx, Exotel, Plivo.

JSON objects with an `event`, and sound in base64, each track by itself. Some write names in snake_case. Pure.

https://www.twilio.com/docs/voice/media-streams/websocket-messages
https://developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket
https://developer.exotel.com/docs/agentstream/websocket-protocol
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.api.live.dialects.asking import given, is_field, new_call, values_of_texts
from app.api.live.dialects.frames import (
    LONGEST_SHOWN,
    Payloads,
    about_left_out,
    error_frames,
    object_of,
    own_frames,
    seconds_of,
    sound_of,
    with_metadata,
)
from app.api.live.dialects.incoming import Auth, Frame, HeardTrack, Incoming, Start, Stop, Warn
from app.errors import AppError, FieldError, InvalidRequest
from app.intake.text_fields import BOOLEANS
from app.live.events import LiveEvent

TRACKS = ("inbound", "outbound")
LABELS = {"inbound": "customer", "outbound": "agent"}
"""Inbound is what the phone system hears from the line: the caller."""
KEYS = ("key", "token", "api_key")
EVENTS = "events"
TELNYX_KEY = "x-telnyx-streaming-auth-token"
_NO_METADATA = frozenset(
    "accountSid account_sid user_id tracks mediaFormat media_format customParameters custom_parameters".split()
)
_STREAM_IDS = ("streamSid", "stream_sid", "stream_id", "streamId")


class TwilioDialect:
    """`from_url` are the values of fields in the connection's URL. What the phone system announces comes before them.

    Twilio reports an error for every message that it does not know. So the client gets events only if it asks for them
    with the parameter `events`.
    """

    name = "twilio"

    def __init__(self, from_url: Mapping[str, Any], *, sends_events: bool = False) -> None:
        self._from_url = from_url
        self._sends_events = sends_events
        self._payloads = Payloads()
        self._channels: dict[str, int] | None = None  # by track; None before `start`
        self._channel_of_others: int | None = None
        self._warned: set[str] = set()

    def greet(self) -> Sequence[Frame]:
        return []

    def read(self, frame: Frame) -> Sequence[Incoming]:
        if isinstance(frame, bytes):
            raise InvalidRequest("Binary frames do not belong to this protocol: send sound in `media` events.")
        values = object_of(frame)
        match values.get("event"):
            case "connected":
                key = values.get(TELNYX_KEY)
                return [Auth(key)] if isinstance(key, str) and key else []
            case "start":
                return self._start(values)
            case "media":
                return self._media(_object(values, "media"))
            case "stop":
                return [Stop()]
        return []  # marks, digits, and what phone systems will send some day

    def write(self, event: LiveEvent) -> Sequence[Frame]:
        return own_frames(event) if self._sends_events else []

    def settle(self) -> Sequence[Frame]:
        return []

    def refuse(self, error: AppError) -> Sequence[Frame]:
        return error_frames(error)

    def _start(self, message: dict[str, Any]) -> Sequence[Incoming]:
        if self._channels is not None:
            raise InvalidRequest("The stream has begun already.")
        start = _object(message, "start")
        parameters = dict(_either(start, "customParameters", "custom_parameters"))
        keys = [parameters.pop(name, None) for name in KEYS]
        self._sends_events = BOOLEANS.get(str(parameters.pop(EVENTS, "")).strip().lower(), self._sends_events)
        asked = {**self._from_url, **_announced(start), **_asked(parameters)}
        self._place_tracks(start, message, asked)
        known = {name: value for name, value in start.items() if name not in _NO_METADATA and _is_plain(value)}
        known |= {name: message[name] for name in _STREAM_IDS if _is_plain(message.get(name))}
        others = {name: value for name, value in parameters.items() if not is_field(name)}
        asked["metadata"], left_out = with_metadata(asked.get("metadata", {}), known | others)
        auths: Sequence[Incoming] = [Auth(key) for key in keys if isinstance(key, str) and key][:1]
        return [*auths, Start(new_call(asked, self.name)), *about_left_out(left_out)]

    def _place_tracks(self, start: Mapping[str, Any], message: Mapping[str, Any], asked: dict[str, Any]) -> None:
        """Decides which channel each track is. Without a list of tracks, only Telnyx may send two of them."""
        listed = start.get("tracks")
        named = {_track(each) for each in listed} if isinstance(listed, list) else set()
        tracks = [each for each in TRACKS if each in named]
        may_be_two = not tracks and ("stream_id" in message or "stream_id" in start)
        asked.setdefault("channels", 2 if may_be_two else max(1, len(tracks)))
        if asked["channels"] == 2:
            tracks = [*TRACKS]
        asked.setdefault("channel_labels", [LABELS[each] for each in tracks] or [LABELS["inbound"]])
        self._channels = {track: number for number, track in enumerate(tracks)}

    def _media(self, media: Mapping[str, Any]) -> Sequence[Incoming]:
        if self._channels is None:
            raise InvalidRequest("The first event with sound came before the event `start`.")
        raw = self._payloads.read(media.get("payload"))
        if raw is None:
            return self._warn_once("garbled_sound", "Some sound is not valid base64 and was left out.")
        track = _track(media.get("track"))
        if not self._channels:  # the only track is the one that comes first
            self._channels = {track: 0}
        channel = self._channels.get(track, None if track in TRACKS else 0)
        if channel is None:
            return self._warn_once("unknown_track", f"The track {track} was not announced and is left out.")
        return [HeardTrack(channel, raw, seconds_of(media.get("timestamp")))]

    def _warn_once(self, code: str, message: str) -> Sequence[Incoming]:
        if code in self._warned:
            return []
        self._warned.add(code)
        return [Warn(code, message)]


def is_twilio(values: Mapping[str, Any]) -> bool:
    """Whether a first frame with these values belongs to this dialect."""
    event = values.get("event")
    return event == "connected" or (event == "start" and isinstance(values.get("start"), dict))


def _announced(start: Mapping[str, Any]) -> dict[str, Any]:
    """The sound that the phone system announces. It is Twilio's if it announces none."""
    sound = _either(start, "mediaFormat", "media_format")
    rate = sound.get("sampleRate", sound.get("sample_rate"))
    return {"sample_rate": 8000, **sound_of(sound.get("encoding", "mulaw"), rate)}


def _asked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a call among the parameters that the operator of the phone system has set."""
    fields = {name: value for name, value in parameters.items() if is_field(name)}
    texts = [(name, value) for name, value in fields.items() if isinstance(value, str)]
    return given({name: value for name, value in fields.items() if not isinstance(value, str)} | values_of_texts(texts))


def _object(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = message.get(name)
    if not isinstance(value, dict):
        raise InvalidRequest("The event cannot be read.", errors=(FieldError(name, "must be a JSON object"),))
    return value


def _either(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The first of these objects that is there, or an empty one."""
    name = next((each for each in names if values.get(each)), None)
    return {} if name is None else _object(values, name)


def _track(named: object) -> str:
    return str(named).removesuffix("_track")[:LONGEST_SHOWN]


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool) and value != ""
