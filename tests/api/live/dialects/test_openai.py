"""OpenAI's Realtime API: sessions, sound, and the events of items."""

import base64
import json
from typing import Any

import pytest

from app.api.live.dialects.incoming import Answer, Dialect, Heard, Incoming, Settle, Start
from app.api.live.dialects.openai import MOST_ERRORS
from app.api.live.dialects.recognizing import Handshake, realtime_dialect
from app.audio.live_sound import Sound
from app.errors import InvalidRequest, QueueFull
from app.intake.model_names import ModelNames
from app.live.events import LiveEvent, Partial, SpeechStarted, SpeechStopped, Transcript

MODELS = ModelNames(["base", "tiny"], {"fast": "tiny"})
SOUND = bytes(4800)
APPEND = {"type": "input_audio_buffer.append", "audio": base64.b64encode(SOUND).decode()}
INPUT = "conversation.item.input_audio_transcription"


def dialect(*query: tuple[str, str], is_beta: bool = False) -> Dialect:
    query = (("intent", "transcription"), *query)
    return realtime_dialect(Handshake("/v1/realtime", query, "1", is_beta), MODELS)


def read(dialect: Dialect, message: object) -> list[Incoming]:
    return list(dialect.read(json.dumps(message)))


def answer(dialect: Dialect, message: object) -> dict[str, Any]:
    (incoming,) = read(dialect, message)
    assert isinstance(incoming, Answer)
    (frame,) = incoming.frames
    told: dict[str, Any] = json.loads(frame)
    return told


def update(**members: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "transcription", "audio": {"input": members}}}


def started(dialect: Dialect) -> Start:
    start, heard = read(dialect, APPEND)
    assert isinstance(start, Start)
    assert heard == Heard(SOUND)
    return start


def events(dialect: Dialect, *told: LiveEvent) -> list[dict[str, Any]]:
    return [json.loads(frame) for event in told for frame in dialect.write(event)]


def test_a_session_begins_with_its_configuration() -> None:
    (greeting,) = dialect().greet()
    told = json.loads(greeting)
    assert told["type"] == "session.created"
    assert told["session"]["type"] == "transcription"
    assert told["session"]["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert told["event_id"]


def test_an_update_is_answered_and_holds_for_the_call() -> None:
    session = dialect(("external_id", "7"), ("model", "gpt-realtime"))
    asked = update(
        format={"type": "audio/pcmu"},
        transcription={"model": "gpt-4o-transcribe", "language": "de", "prompt": "names", "keywords": ["Callscribe"]},
        turn_detection={"type": "server_vad", "silence_duration_ms": 700},
    )
    told = answer(session, asked)
    assert told["type"] == "session.updated"
    assert told["session"]["audio"]["input"]["transcription"]["language"] == "de"
    call = started(session).call
    options = call.ask.options
    assert call.sound == Sound("mulaw", 8000, 1)
    assert (options.model, options.language, options.prompt, options.hotwords) == (
        "base",
        "de",
        "names",
        ("Callscribe",),
    )
    assert (call.silence_ms, call.ask.external_id) == (700, "7")
    assert read(session, APPEND) == [Heard(SOUND)]


@pytest.mark.parametrize(
    ("name", "sound"),
    [("pcm16", Sound("pcm_s16le", 24_000)), ("g711_ulaw", Sound("mulaw", 8000)), ("g711_alaw", Sound("alaw", 8000))],
)
def test_the_names_of_the_beta(name: str, sound: Sound) -> None:
    session = dialect(is_beta=True)
    assert json.loads(session.greet()[0])["type"] == "transcription_session.created"
    asked = {"input_audio_format": name, "input_audio_transcription": {"model": "whisper-1", "language": "en"}}
    told = answer(session, {"type": "transcription_session.update", "session": asked})
    assert told["type"] == "transcription_session.updated"
    assert told["session"]["input_audio_format"] == name
    assert started(session).call.sound == sound
    kinds = [each["type"] for each in events(session, Transcript(0, "speaker", 0, "Hello.", 0, 1))]
    assert "conversation.item.created" in kinds


@pytest.mark.parametrize(
    ("name", "model"),
    [(None, "base"), ("", "base"), ("tiny", "tiny"), ("fast", "tiny"), ("gpt-4o-mini-transcribe-2025-12-15", "base")],
)
def test_names_of_models(name: str | None, model: str) -> None:
    session = dialect()
    assert answer(session, update(transcription={"model": name}))["type"] == "session.updated"
    assert started(session).call.ask.options.model == model


def test_an_utterance_is_an_item() -> None:
    session = dialect()
    started(session)
    told = events(
        session,
        SpeechStarted(0, "speaker", 1.0),
        Partial(0, "speaker", 0, "Hello", 1.0),
        Partial(0, "speaker", 0, "Hello Anna", 1.0),
        SpeechStopped(0, "speaker", 2.5),
        Transcript(0, "speaker", 0, "Hello Anna.", 1.0, 2.5),
        SpeechStarted(0, "speaker", 4.0),
        SpeechStopped(0, "speaker", 5.0),
        Transcript(0, "speaker", 1, "Bye.", 4.0, 5.0),
    )
    first = [
        "input_audio_buffer.speech_started",
        f"{INPUT}.delta",
        f"{INPUT}.delta",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{INPUT}.delta",
        f"{INPUT}.completed",
    ]
    assert [each["type"] for each in told[:9]] == first
    items = [each.get("item_id") or each["item"]["id"] for each in told]
    assert len(set(items[:9])) == 1
    assert len(set(items[9:])) == 1
    assert items[0] != items[9]
    assert [each["delta"] for each in told[:9] if "delta" in each] == ["Hello", " Anna", "."]
    assert told[0]["audio_start_ms"] == 1000
    assert told[3]["audio_end_ms"] == 2500
    assert told[8]["transcript"] == "Hello Anna."
    assert told[8]["usage"] == {"type": "duration", "seconds": 1.5}
    second = next(each for each in told[9:] if each["type"] == "input_audio_buffer.committed")
    assert second["previous_item_id"] == items[0]
    assert len({each["event_id"] for each in told}) == len(told)


def test_a_final_text_that_differs_comes_without_a_delta() -> None:
    session = dialect()
    started(session)
    told = events(session, Partial(0, "speaker", 0, "Halo", 1.0), Transcript(0, "speaker", 0, "Hello.", 1.0, 2.0))
    assert [each["delta"] for each in told if "delta" in each] == ["Halo"]
    assert told[-1]["transcript"] == "Hello."


def test_without_turn_detection_an_item_is_what_the_client_commits() -> None:
    session = dialect()
    answer(session, update(turn_detection=None))
    started(session)
    assert events(session, SpeechStarted(0, "speaker", 0.0), SpeechStopped(0, "speaker", 0.1)) == []
    told, silence, settle = read(session, {"type": "input_audio_buffer.commit"})
    assert isinstance(told, Answer)
    kinds = [json.loads(frame)["type"] for frame in told.frames]
    assert kinds == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    assert isinstance(silence, Heard)
    assert len(silence.raw) > 24_000
    assert not any(silence.raw)
    assert settle == Settle()
    assert session.settle() == []
    told_later = events(session, Transcript(0, "speaker", 0, "Hello.", 0.0, 0.1))
    assert [each["type"] for each in told_later] == [f"{INPUT}.delta", f"{INPUT}.completed"]
    assert told_later[1]["transcript"] == "Hello."
    assert session.settle() == []


def test_a_commit_without_speech_is_completed_without_text() -> None:
    session = dialect()
    answer(session, update(turn_detection=None))
    started(session)
    read(session, {"type": "input_audio_buffer.commit"})
    (told,) = map(json.loads, session.settle())
    assert (told["type"], told["transcript"]) == (f"{INPUT}.completed", "")


def test_a_buffer_can_be_cleared_and_an_empty_one_cannot_be_committed() -> None:
    session = dialect()
    started(session)
    assert answer(session, {"type": "input_audio_buffer.clear"})["type"] == "input_audio_buffer.cleared"
    told = answer(session, {"type": "input_audio_buffer.commit", "event_id": "mine"})
    assert told["type"] == "error"
    assert told["error"]["event_id"] == "mine"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"type": "response.create"}, "type"),
        ({"type": None}, "type"),
        ({}, "type"),
        ({"type": "input_audio_buffer.append", "audio": "%"}, "audio"),
        ({"type": "input_audio_buffer.append"}, "audio"),
        ({"type": "session.update"}, "session"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
        ({"type": "session.update", "session": {"audio": []}}, "session.audio"),
        (update(format={"type": "audio/opus"}), "session.audio.input.format.type"),
        (update(format={"type": ["audio/pcm"]}), "session.audio.input.format.type"),
        (update(format={"type": "audio/pcm", "rate": 10**30}), "session.audio.input.format.rate"),
        (update(transcription={"model": "other"}), "model"),
        (update(transcription={"model": 7}), "session.audio.input.transcription.model"),
        (update(transcription={"language": "klingon"}), "session.audio.input.transcription.language"),
        (update(transcription={"prompt": "a\0b"}), "session.audio.input.transcription.prompt"),
        (update(transcription=[]), "session.audio.input.transcription"),
        (update(turn_detection=True), "session.audio.input.turn_detection.type"),
        (
            update(turn_detection={"type": "server_vad", "silence_duration_ms": "long"}),
            "session.audio.input.turn_detection.silence_duration_ms",
        ),
    ],
)
def test_a_mistake_is_answered_and_the_session_goes_on(message: dict[str, Any], param: str) -> None:
    session = dialect()
    told = answer(session, {**message, "event_id": "mine"})
    assert told["type"] == "error"
    assert (told["error"]["param"], told["error"]["event_id"]) == (param, "mine")
    assert told["error"]["type"] == "invalid_request_error"
    assert started(session).call.sound == Sound("pcm_s16le", 24_000)


def test_the_format_cannot_change_after_the_first_sound() -> None:
    session = dialect()
    started(session)
    assert answer(session, update(format={"type": "audio/pcma"}))["type"] == "error"
    assert answer(session, update(transcription={"language": "en"}))["type"] == "session.updated"


@pytest.mark.parametrize("frame", [b"\0", "[", "7", '{"a":' * 900, '{"event_id": 7}', '{"type":"\\u0000"}'])
def test_frames_that_cannot_be_read_are_answered_until_they_are_too_many(frame: str | bytes) -> None:
    session = dialect()
    for _ in range(MOST_ERRORS):
        (incoming,) = session.read(frame)
        assert isinstance(incoming, Answer)
    with pytest.raises(InvalidRequest):
        session.read(frame)


def test_the_end_of_a_connection_is_explained_in_openais_shape() -> None:
    (frame,) = dialect().refuse(QueueFull("Too many."))
    told = json.loads(frame)
    assert (told["type"], told["error"]["type"], told["error"]["message"]) == ("error", "rate_limit_error", "Too many.")
