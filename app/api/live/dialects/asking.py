"""Makes a NewCall from the fields of a client, as values or as texts. All dialects have the same fields.

The options of a live call are those of a transcription (`intake.requests`). Only what belongs to the sound and to the
live text is added here. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app import wording
from app.audio.live_sound import LiveEncoding, Sound
from app.errors import FieldError, InvalidRequest
from app.intake.requests import CreateTranscription, validated
from app.intake.text_fields import field_of, values_of
from app.live.asking import USUAL_PARTIAL_MS, USUAL_SILENCE_MS, NewCall

WIDE_RATE, PHONE_RATE = 16_000, 8_000
LONGEST_RESUME = 200


class LiveFields(BaseModel):
    """The fields of a live call that a transcription does not have."""

    model_config = ConfigDict(extra="forbid", strict=True)

    encoding: LiveEncoding = "pcm_s16le"
    sample_rate: int | None = Field(default=None, ge=8_000, le=48_000)
    channels: int = Field(default=1, ge=1, le=2)
    silence_ms: int = Field(default=USUAL_SILENCE_MS, ge=100, le=10_000)
    partial_ms: int = Field(default=USUAL_PARTIAL_MS, ge=200, le=60_000)
    partials: bool = True
    resume: str | None = Field(default=None, max_length=LONGEST_RESUME, pattern=wording.NO_NUL)

    @property
    def sound(self) -> Sound:
        usual = PHONE_RATE if self.encoding in ("mulaw", "alaw") else WIDE_RATE
        return Sound(self.encoding, self.sample_rate or usual, self.channels)


def is_field(name: str) -> bool:
    """Whether a text of this name, such as `channel_labels[]`, belongs to a field of a call."""
    field = field_of(name)
    return field in LiveFields.model_fields or field in CreateTranscription.model_fields


def values_of_texts(texts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The values of fields that are texts, as in a URL. Raises InvalidRequest."""
    of_live = [(name, text) for name, text in texts if field_of(name) in LiveFields.model_fields]
    others = [(name, text) for name, text in texts if field_of(name) not in LiveFields.model_fields]
    return values_of(CreateTranscription, others) | values_of(LiveFields, of_live)


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without the fields that are empty, which count as not given."""
    return {name: value for name, value in values.items() if not (is_field(name) and (value is None or value == ""))}


def new_call(values: Mapping[str, Any], dialect: str, *, can_resume: bool = False) -> NewCall:
    """Raises InvalidRequest, which names the fields that are not valid."""
    of_live = {name: value for name, value in values.items() if name in LiveFields.model_fields}
    live = validated(LiveFields, of_live)
    asked = {name: value for name, value in values.items() if name not in of_live}
    asked["channels"] = "split" if live.channels > 1 else "mix"
    ask = validated(CreateTranscription, asked).ask()
    if ask.options.diarize:
        detail = "is not offered for live calls, because voices are told apart when a recording is known to its end"
        raise InvalidRequest("Some fields are not valid.", errors=(FieldError("diarize", detail),))
    return NewCall(
        live.sound,
        ask,
        dialect,
        silence_ms=live.silence_ms,
        partial_ms=live.partial_ms,
        partials=live.partials,
        resume=live.resume,
        can_resume=can_resume,
    )
