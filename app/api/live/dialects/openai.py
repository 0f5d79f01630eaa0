"""OpenAI's Realtime API, as far as it transcribes: names of today (GA) and of its beta. Pure.

Our utterances are OpenAI's items. Without turn detection, an item is what was said until the client commits it.

https://platform.openai.com/docs/guides/realtime-transcription
https://platform.openai.com/docs/api-reference/realtime-client-events
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from app.api.live.dialects.asking import given, new_call
from app.api.live.dialects.frames import LONGEST_SHOWN, Payloads, as_text, object_of, sound_of
from app.api.live.dialects.incoming import Answer, Frame, Heard, Incoming, Settle, Start
from app.api.openai.errors import failure_of
from app.api.openai.names import OPENAI_NAMES, model_named
from app.audio.live_sound import SILENCE, Sound
from app.errors import AppError, FieldError, InvalidRequest
from app.intake.model_names import ModelNames
from app.intake.requests import MAX_PROMPT_CHARACTERS
from app.live.events import LiveEvent, Partial, SpeechStarted, SpeechStopped, Transcript

RATE, PHONE_RATE = 24_000, 8_000
REALTIME_NAMES = frozenset({*OPENAI_NAMES, "gpt-live-transcribe", "gpt-realtime-whisper"})
"""Names of OpenAI that mean the default model here, also with a date such as `-2025-12-15`."""
EAGERNESS_MS = {"low": 1_000, "medium": 500, "auto": 500, "high": 300}
SERVER_VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
SILENCE_SECONDS = 0.3
"""More silence than ends an utterance is put behind what the client commits, because no sound may follow for long."""
MOST_ERRORS = 100
GA, BETA = "session.update", "transcription_session.update"
_FORMATS = {"audio/pcm": RATE, "audio/pcmu": PHONE_RATE, "audio/pcma": PHONE_RATE}
_BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
NEAR_SECONDS = 1.0
"""An utterance that ends this near to what the client has committed is the last one in it."""
_DATE = re.compile(r"-[0-9]{4}-[0-9]{2}-[0-9]{2}$")
_INPUT = "conversation.item.input_audio_transcription"
_AT = "session.audio.input"
_BETA_MEMBERS = ("input_audio_format", "input_audio_transcription", "input_audio_noise_reduction", "turn_detection")
_FIELDS = {
    "sample_rate": f"{_AT}.format.rate",
    "encoding": f"{_AT}.format.type",
    "silence_ms": f"{_AT}.turn_detection.silence_duration_ms",
    "hotwords": f"{_AT}.transcription.keywords",
    "languages": f"{_AT}.transcription.languages",
    "language": f"{_AT}.transcription.language",
    "prompt": f"{_AT}.transcription.prompt",
}


@dataclass
class _Config:
    format: dict[str, Any] = field(default_factory=lambda: {"type": "audio/pcm", "rate": RATE})
    transcription: dict[str, Any] = field(default_factory=dict)
    turn_detection: dict[str, Any] | None = field(default_factory=lambda: dict(SERVER_VAD))
    ignored: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Item:
    id: str
    start: float
    sent: str = ""
    end: float | None = None
    is_committed: bool = False


class OpenAIDialect:
    """`from_url` are the values of fields in the connection's URL. `session` makes ids unique.

    A mistake of the client is answered with an error, and the session goes on, as it does at OpenAI.
    """

    name = "openai"

    def __init__(self, from_url: Mapping[str, Any], models: ModelNames, session: str, *, is_beta: bool = False) -> None:
        self._from_url = {name: value for name, value in from_url.items() if name != "model"}
        self._models = models
        self._session = session
        self._is_beta = is_beta
        self._config = _Config()
        named = from_url.get("model")
        if isinstance(named, str) and models.resolve(named) is not None:  # others are models to talk with
            self._config.transcription["model"] = named
        self._numbers, self._event_numbers = count(1), count(1)
        self._payloads = Payloads()
        self._errors = 0
        self._sound: Sound | None = None  # from the first sound on
        self._previous: str | None = None
        self._item: _Item | None = None  # of speech that has begun, and whose utterance has no text yet
        self._items: dict[int, _Item] = {}  # by utterance
        self._uncommitted_bytes = 0
        self._heard_seconds = 0.0
        self._texts: list[str] = []  # final texts of what is not committed
        self._pending: list[_Item] = []  # committed by the client; their texts may still come
        self._is_settled = False  # all speech in what is pending has begun

    def greet(self) -> Sequence[Frame]:
        return [self._session_event("created")]

    def read(self, frame: Frame) -> Sequence[Incoming]:
        event_id = None
        try:
            if isinstance(frame, bytes):
                raise InvalidRequest("Send sound as base64 in the event `input_audio_buffer.append`.")
            values = object_of(frame)
            event_id = values.get("event_id")
            return self._read(values)
        except AppError as error:
            self._errors += 1
            if self._errors > MOST_ERRORS:
                raise
            return [Answer([self._error(error, event_id)])]

    def write(self, event: LiveEvent) -> Sequence[Frame]:
        match event:
            case SpeechStarted() | SpeechStopped() | Partial() | Transcript() if self._config.turn_detection is None:
                return list(self._write_by_hand(event))
            case SpeechStarted(start=start):
                return list(self._speech_started(start))
            case SpeechStopped(end=end):
                return list(self._speech_stopped(end))
            case Partial():
                return list(self._grown(self._item_of(event), event.text))
            case Transcript():
                return list(self._completed_by_turn(event))
        return []

    def settle(self) -> Sequence[Frame]:
        """Completes what the client has committed, unless somebody still speaks in it."""
        self._is_settled = True
        return [] if self._somebody_speaks else list(self._complete_pending())

    def refuse(self, error: AppError) -> Sequence[Frame]:
        return [self._error(error, None)]

    def _read(self, values: dict[str, Any]) -> Sequence[Incoming]:
        kind = values.get("type")
        match kind:
            case "session.update" | "transcription_session.update":
                return self._update(kind, values.get("session"))
            case "input_audio_buffer.append":
                return self._append(values.get("audio"))
            case "input_audio_buffer.commit":
                return self._commit()
            case "input_audio_buffer.clear":
                self._uncommitted_bytes, self._texts = 0, []
                return [Answer([self._event("input_audio_buffer.cleared")])]
        shown = str(kind)[:LONGEST_SHOWN]
        raise _refused("type", f"{shown!r} is not offered: this service only transcribes")

    def _update(self, kind: str, session: object) -> Sequence[Incoming]:
        changed = _changed(self._config, session)
        with _in_openais_words():
            call = self._call(changed)
        if self._sound is not None and call.sound != self._sound:
            raise _refused(f"{_AT}.format", "cannot change after the first sound")
        self._config, self._is_beta = changed, kind == BETA
        return [Answer([self._session_event("updated")])]

    def _call(self, config: _Config) -> Any:
        asked, turns = config.transcription, config.turn_detection or {}
        values = {
            **self._from_url,
            **sound_of(config.format.get("type"), config.format.get("rate")),
            "channels": 1,
            "model": self._model(asked.get("model")),
            "language": asked.get("language"),
            "languages": asked.get("languages"),
            "hotwords": asked.get("keywords"),
            "prompt": asked["prompt"][-MAX_PROMPT_CHARACTERS:] if isinstance(asked.get("prompt"), str) else None,
            "silence_ms": EAGERNESS_MS.get(str(turns.get("eagerness")), turns.get("silence_duration_ms")),
        }
        return new_call(given(values), self.name)

    def _model(self, name: object) -> str:
        if name is not None and not isinstance(name, str):
            raise _refused(f"{_AT}.transcription.model", "must be text")
        named = name or ""
        if self._models.resolve(named) is None and _DATE.sub("", named) in REALTIME_NAMES:
            return self._models.default
        return model_named(self._models, named)

    def _append(self, audio: object) -> Sequence[Incoming]:
        raw = self._payloads.read(audio)
        if raw is None:
            raise _refused("audio", "must be base64")
        begun: Sequence[Incoming] = []
        if self._sound is None:
            with _in_openais_words():
                call = self._call(self._config)
            self._sound = call.sound
            begun = [Start(call)]
        self._hear(raw)
        self._uncommitted_bytes += len(raw)
        return [*begun, Heard(raw)]

    def _hear(self, raw: bytes) -> None:
        assert self._sound is not None
        self._heard_seconds += len(raw) / self._sound.bytes_per_frame / self._sound.sample_rate

    def _commit(self) -> Sequence[Incoming]:
        sound = self._sound
        if sound is None or not self._uncommitted_bytes:
            raise InvalidRequest("The buffer is empty: append sound before you commit it.")
        frames = int((self._silence_ms / 1000 + SILENCE_SECONDS) * sound.sample_rate)
        silence = SILENCE[sound.encoding] * frames
        self._uncommitted_bytes = 0
        if self._config.turn_detection is not None:
            self._hear(silence)
            return [Heard(silence)]
        item = _Item(self._id(), self._heard_seconds, end=self._heard_seconds)
        self._pending.append(item)
        self._is_settled = False
        committed = list(self._committed(item))
        self._hear(silence)
        return [Answer(committed), Heard(silence), Settle()]

    @property
    def _silence_ms(self) -> int:
        turns = self._config.turn_detection or {}
        asked = EAGERNESS_MS.get(str(turns.get("eagerness")), turns.get("silence_duration_ms"))
        return asked if isinstance(asked, int) else int(SERVER_VAD["silence_duration_ms"])  # type: ignore[call-overload]

    def _speech_started(self, start: float) -> Iterator[Frame]:
        self._item = _Item(self._id(), start)
        yield self._event(
            "input_audio_buffer.speech_started", audio_start_ms=round(start * 1000), item_id=self._item.id
        )

    def _speech_stopped(self, end: float) -> Iterator[Frame]:
        item = self._item or next(reversed(self._items.values()), None)
        if item is None or item.is_committed:
            return
        item.end = end
        yield self._event("input_audio_buffer.speech_stopped", audio_end_ms=round(end * 1000), item_id=item.id)
        yield from self._committed(item)

    def _item_of(self, event: Partial | Transcript) -> _Item:
        """The item of an utterance. A long utterance has further ones, of which no speech began."""
        if event.utterance not in self._items:
            self._items[event.utterance] = self._item or _Item(self._id(), event.start)
            self._item = None
        return self._items[event.utterance]

    def _completed_by_turn(self, event: Transcript) -> Iterator[Frame]:
        item = self._item_of(event)
        del self._items[event.utterance]
        if not item.is_committed:
            yield from self._committed(item)
        yield from self._grown(item, event.text)
        yield self._completed(item, event.text, event.end - event.start)

    def _write_by_hand(self, event: LiveEvent) -> Iterator[Frame]:
        """Without turn detection the client learns only the texts of what it has committed."""
        match event:
            case SpeechStarted(start=start):
                self._item = _Item("", start)
            case Partial():
                self._item_of(event)
            case Transcript():
                self._item_of(event)
                del self._items[event.utterance]
                if event.text:
                    self._texts.append(event.text)
                near = self._pending and event.end >= self._pending[-1].start - NEAR_SECONDS
                if (near or self._is_settled) and not self._somebody_speaks:
                    yield from self._complete_pending()

    @property
    def _somebody_speaks(self) -> bool:
        return self._item is not None or bool(self._items)

    def _complete_pending(self) -> Iterator[Frame]:
        """All texts so far belong to the first item, because a client commits again when it has the text before."""
        for item in self._pending:
            text = " ".join(self._texts)
            self._texts = []
            yield from self._grown(item, text)
            yield self._completed(item, text, item.end or 0.0)
        self._pending = []

    def _grown(self, item: _Item, text: str) -> Iterator[Frame]:
        """The text that is new. A text that does not continue the one before comes as a whole with `completed`."""
        if text.startswith(item.sent) and text != item.sent:
            delta, item.sent = text[len(item.sent) :], text
            yield self._event(f"{_INPUT}.delta", item_id=item.id, content_index=0, delta=delta)

    def _completed(self, item: _Item, text: str, seconds: float) -> Frame:
        return self._event(
            f"{_INPUT}.completed",
            item_id=item.id,
            content_index=0,
            transcript=text,
            usage={"type": "duration", "seconds": round(max(seconds, 0.0), 2)},
        )

    def _committed(self, item: _Item) -> Iterator[Frame]:
        previous, self._previous, item.is_committed = self._previous, item.id, True
        yield self._event("input_audio_buffer.committed", previous_item_id=previous, item_id=item.id)
        content = [{"type": "input_audio", "transcript": None}]
        common = {"id": item.id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user"}
        for kind in ("created",) if self._is_beta else ("added", "done"):
            shown = {**common, "content": content}
            yield self._event(f"conversation.item.{kind}", previous_item_id=previous, item=shown)

    def _id(self) -> str:
        return f"item_{self._session}_{next(self._numbers)}"

    def _event(self, kind: str, **members: object) -> Frame:
        return as_text({"type": kind, "event_id": f"event_{self._session}_{next(self._event_numbers)}", **members})

    def _error(self, error: AppError, event_id: object) -> Frame:
        shown = event_id if isinstance(event_id, str) else None
        return self._event("error", error={**failure_of(error).detail, "event_id": shown})

    def _session_event(self, what: str) -> Frame:
        kind = "transcription_session" if self._is_beta else "session"
        config = self._config
        session: dict[str, Any] = {"id": f"sess_{self._session}", "object": "realtime.transcription_session"}
        if self._is_beta:
            names = {format_: name for name, format_ in _BETA_FORMATS.items()}
            session |= {
                "input_audio_format": names[config.format["type"]],
                "input_audio_transcription": config.transcription or None,
                "turn_detection": config.turn_detection,
            }
        else:
            shown = {
                "format": config.format,
                "transcription": config.transcription or None,
                "noise_reduction": config.ignored.get("noise_reduction"),
                "turn_detection": config.turn_detection,
            }
            session |= {"type": "transcription", "audio": {"input": shown}}
        return self._event(f"{kind}.{what}", session=session)


def _changed(config: _Config, session: object) -> _Config:
    """The session after an update. What the client leaves out stays as it is. Raises InvalidRequest."""
    if not isinstance(session, dict):
        raise _refused("session", "must be a JSON object")
    if session.get("type", "transcription") != "transcription":
        raise _refused("session.type", "must be transcription: this service does not talk")
    sent = dict(_object_at(_object_at(session, "audio", "session.audio"), "input", _AT))
    sent |= {name.removeprefix("input_audio_"): session[name] for name in _BETA_MEMBERS if name in session}
    changed = replace(config)
    if sent.get("format") is not None:
        changed.format = _format(sent["format"])
    if "transcription" in sent:
        changed.transcription = {**config.transcription, **_object_at(sent, "transcription", f"{_AT}.transcription")}
    if "turn_detection" in sent:
        changed.turn_detection = _turns(sent["turn_detection"])
    changed.ignored = {name: sent[name] for name in ("noise_reduction",) if name in sent}
    return changed


def _format(sent: object) -> dict[str, Any]:
    if isinstance(sent, str):
        sent = {"type": _BETA_FORMATS.get(sent, sent)}
    kind = sent.get("type", "audio/pcm") if isinstance(sent, dict) else None
    if not isinstance(sent, dict) or not isinstance(kind, str) or kind not in _FORMATS:
        raise _refused(f"{_AT}.format.type", f"must be one of: {', '.join(_FORMATS)}")
    rate = sent.get("rate")
    return {"type": kind, "rate": _FORMATS[kind] if rate is None else rate}


def _turns(sent: object) -> dict[str, Any] | None:
    if sent is None:
        return None
    kind = sent.get("type", "server_vad") if isinstance(sent, dict) else None
    if not isinstance(sent, dict) or kind not in ("server_vad", "semantic_vad"):
        raise _refused(f"{_AT}.turn_detection.type", "must be server_vad or semantic_vad")
    return {**(SERVER_VAD if kind == "server_vad" else {}), **sent, "type": kind}


def _object_at(values: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    """An object that may be missing."""
    value = values.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _refused(path, "must be a JSON object")
    return value


@contextmanager
def _in_openais_words() -> Iterator[None]:
    """Raises errors about fields of a call as errors about the members of a session."""
    try:
        yield
    except InvalidRequest as error:
        renamed = tuple(
            FieldError(_FIELDS.get(each.field.partition(".")[0], each.field), each.detail) for each in error.errors
        )
        raise InvalidRequest(error.detail, errors=renamed) from None


def _refused(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The event cannot be read.", errors=(FieldError(field, detail),))
