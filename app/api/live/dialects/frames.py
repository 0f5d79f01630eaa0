"""Reads and writes what several dialects have in common: JSON, base64, formats of sound, metadata. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.api.live.dialects.incoming import Incoming, Warn
from app.audio.live_sound import LiveEncoding
from app.errors import AppError, FieldError, InvalidRequest
from app.intake.metadata import MAX_METADATA_BYTES, checked_metadata
from app.intake.requests import json_object
from app.live.events import LiveEvent

MOST_GARBLED = 100
LONGEST_SHOWN = 60
_MULAW = "mulaw ulaw pcmu g711_ulaw audio/x-mulaw audio/mulaw audio/pcmu audio/basic"
_ALAW = "alaw pcma g711_alaw audio/x-alaw audio/alaw audio/pcma"
_LINEAR = "pcm_s16le l16 linear16 pcm16 raw audio/l16 audio/x-l16 audio/x-raw audio/raw audio/pcm"
_ENCODINGS: Mapping[str, tuple[LiveEncoding, int | None]] = {
    **dict.fromkeys(_MULAW.split(), ("mulaw", None)),
    **dict.fromkeys(_ALAW.split(), ("alaw", None)),
    **dict.fromkeys(_LINEAR.split(), ("pcm_s16le", None)),
    **{f"slin{kilohertz}": ("pcm_s16le", int(kilohertz or 8) * 1000) for kilohertz in ("", 8, 12, 16, 24, 32, 48)},
    "slin44": ("pcm_s16le", 44_100),
}
"""The names that phone systems have for encodings, and their sample rate if the name says it. All are little-endian."""


def object_of(frame: str) -> dict[str, Any]:
    """Raises InvalidRequest if the frame is no JSON object."""
    return json_object(frame.encode("utf-8", "surrogatepass"), "frame")


def as_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def own_frames(event: LiveEvent) -> Sequence[str]:
    return [as_text(event.as_json())]


def error_frames(error: AppError) -> Sequence[str]:
    return [as_text({"type": "error", "code": error.code, "message": error.reason})]


def sound_of(named: object, sample_rate: object = None) -> dict[str, Any]:
    """The fields of a call for a format such as `PCMU`, `slin16` or `audio/l16;rate=16000`. Raises InvalidRequest.

    The rate is what the name says, or `sample_rate` if the client announces one.
    """
    name, _, parameters = named.lower().partition(";") if isinstance(named, str) else ("", "", "")
    if name.strip() not in _ENCODINGS:
        detail = (
            f"{str(named)[:LONGEST_SHOWN]!r} is not offered: let the phone system send μ-law, A-law or linear sound"
        )
        raise InvalidRequest("The sound cannot be read.", errors=(FieldError("encoding", detail),))
    encoding, rate = _ENCODINGS[name.strip()]
    in_name = re.search(r"\brate=([0-9]{1,6})\b", parameters)
    values: dict[str, Any] = {"encoding": encoding}
    announced = int(in_name[1]) if in_name else rate if rate is not None else whole_number(sample_rate)
    return values if announced is None else values | {"sample_rate": announced}


def whole_number(value: object) -> object:
    """The number in a text of digits. Anything else is returned as it is."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value) else value


def seconds_of(milliseconds: object) -> float | None:
    """None if it is no time."""
    value = whole_number(milliseconds)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        return None
    return value / 1000


def fitting(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
    """The members that can be stored with a call, shortest first if not all fit, and the names of all others.

    A phone system sends what it knows about a call, and not what fits. That is no reason to lose the call.
    """
    sizes: dict[str, int] = {}
    for name, value in metadata.items():
        try:
            checked_metadata({name: value})
            sizes[name] = len(as_text({name: value}).encode())
        except ValueError:
            continue
    room, kept = MAX_METADATA_BYTES, set[str]()
    for name in sorted(sizes, key=sizes.__getitem__):
        room -= sizes[name]
        if room < 0:
            break
        kept.add(name)
    return {name: value for name, value in metadata.items() if name in kept}, [
        name for name in metadata if name not in kept
    ]


def with_metadata(own: object, others: Mapping[str, Any]) -> tuple[object, Sequence[str]]:
    """The client's own metadata, which is checked later, and as much as fits of what the phone system knows.

    Also returns the names of what was left out.
    """
    return fitting({**others, **own}) if isinstance(own, dict) else (own, [])


def about_left_out(names: Sequence[str]) -> Sequence[Incoming]:
    if not names:
        return []
    listed = ", ".join(name[:LONGEST_SHOWN] for name in names[:5])
    return [Warn("metadata_left_out", f"These metadata cannot be stored and were left out: {listed}.")]


class Payloads:
    """Decodes pieces of sound in base64. Some may be garbled, but not many of one connection."""

    def __init__(self) -> None:
        self.garbled = 0

    def read(self, payload: object) -> bytes | None:
        """None if the piece is garbled. Raises InvalidRequest if too many were."""
        if isinstance(payload, str):
            try:
                return base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True)
            except (binascii.Error, ValueError):
                pass
        self.garbled += 1
        if self.garbled > MOST_GARBLED:
            raise InvalidRequest(f"More than {MOST_GARBLED} pieces of sound are not valid base64.")
        return None
