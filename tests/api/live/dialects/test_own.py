"""Our own dialect: what its frames ask for, and which frames are refused."""

import json
from uuid import UUID

import pytest

from app.api.live.dialects.incoming import Auth, Dialect, Heard, Incoming, Start, StillThere, Stop
from app.api.live.dialects.recognizing import Handshake, dialect_of
from app.audio.live_sound import Sound
from app.errors import InvalidRequest
from app.live.events import Started, Transcript

ID = UUID("0198c1f0-0000-7000-8000-000000000001")


def begun(first: object, *query: tuple[str, str]) -> tuple[Dialect, list[Incoming]]:
    text = first if isinstance(first, str) else json.dumps(first)
    dialect = dialect_of(Handshake("/v1/live", query, "1"), text)
    return dialect, list(dialect.read(text))


def test_auth_begins_a_call_with_wide_mono_sound_and_ignores_what_it_does_not_know() -> None:
    first = {"type": "auth", "api_key": "secret", "model": "qwen3-asr-1.7b", "language": "auto", "interim": True}
    dialect, (auth, start) = begun(first)
    assert auth == Auth("secret")
    assert isinstance(start, Start)
    assert start.call.sound == Sound("pcm_s16le", 16_000, 1)
    assert start.call.ask.options.model == "qwen3-asr-1.7b"
    assert start.call.ask.options.language is None
    assert not start.call.can_resume
    assert dialect.read(b"\1\0") == [Heard(b"\1\0")]


def test_a_client_that_begins_with_auth_finds_a_text_in_every_object() -> None:
    dialect, _ = begun({"type": "auth", "api_key": "secret"})
    texts = [
        json.loads(frame)["text"]
        for event in (Started(ID, {}), Transcript(0, "speaker", 0, "Hello.", 0.5, 1.5))
        for frame in dialect.write(event)
    ]
    assert texts == ["", "Hello."]


def test_start_takes_every_option_of_a_transcription() -> None:
    first = {
        "type": "start",
        "encoding": "mulaw",
        "channels": 2,
        "channel_labels": ["agent", "customer"],
        "language": "de-DE",
        "external_id": "call-7",
        "metadata": {"queue": "orders"},
        "hotwords": ["Callscribe"],
        "webhook_url": "https://crm.example/done",
        "redact": True,
        "word_timestamps": True,
        "silence_ms": 700,
        "partial_ms": 500,
        "partials": False,
        "resume": "token",
        "prompt": None,
    }
    _, (start,) = begun(first)
    assert isinstance(start, Start)
    call, options = start.call, start.call.ask.options
    assert call.sound == Sound("mulaw", 8_000, 2)
    assert (call.silence_ms, call.partial_ms, call.partials, call.resume, call.can_resume) == (
        700,
        500,
        False,
        "token",
        True,
    )
    assert (options.channels, options.channel_labels, options.language) == ("split", ("agent", "customer"), "de")
    assert options.redact
    assert (call.ask.external_id, call.ask.metadata) == ("call-7", {"queue": "orders"})


def test_fields_in_the_url_hold_unless_the_first_frame_says_something_else() -> None:
    _, (start,) = begun({"type": "start", "language": "en"}, ("language", "de"), ("rate", "8000"), ("external_id", "7"))
    assert isinstance(start, Start)
    assert start.call.ask.options.language == "en"
    assert start.call.ask.external_id == "7"
    assert start.call.sound.sample_rate == 8_000


def test_other_frames_of_a_call() -> None:
    dialect, _ = begun({"type": "start"})
    assert dialect.read('{"type":"keep_alive"}') == [StillThere()]
    assert dialect.read('{"type":"stop"}') == [Stop()]
    with pytest.raises(InvalidRequest, match="begun already"):
        dialect.read('{"type":"start"}')


@pytest.mark.parametrize("kind", ["begin", 7, None, ["start"], "x" * 10_000])
def test_an_unknown_type_is_named(kind: object) -> None:
    dialect, _ = begun({"type": "start"})
    with pytest.raises(InvalidRequest) as refused:
        dialect.read(json.dumps({"type": kind}))
    assert str(kind)[:40] in refused.value.reason
    assert "keep_alive" in refused.value.reason
    assert len(refused.value.reason) < 250


WRONG: list[object] = [None, True, -1, 10**30, 1.5, "x" * 3000, "a\0b", [], [[]], {}, {"a": {"b": []}}]
FIELDS = [
    "encoding",
    "sample_rate",
    "channels",
    "channel_labels",
    "language",
    "languages",
    "external_id",
    "metadata",
    "model",
    "prompt",
    "hotwords",
    "webhook_url",
    "callback_url",
    "output",
    "redact",
    "silence_ms",
    "partial_ms",
    "partials",
    "word_timestamps",
    "api_key",
    "resume",
    "priority",
]


def trouble(values: dict[str, object]) -> str | None:
    try:
        begun({"type": "start", **values})
    except InvalidRequest as error:
        return error.reason
    return None


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_value_of_a_field_is_refused_and_names_the_field(field: str) -> None:
    refused = [reason for value in WRONG if (reason := trouble({field: value})) is not None]
    assert len(refused) >= 4
    assert all(field in reason for reason in refused)


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        '{"type":"start","metadata":' + '{"a":' * 5000 + "1" + "}" * 5001,
        '{"type":"start","sample_rate":' + "9" * 5000 + "}",
        '{"type":"start","metadata":{"a":1e999}}',
        '{"type":"start","external_id":"\\ud800"}',
        '{"type":"start","external_id":"a\\u0000b"}',
        '{"type":"start","langauge":"en"}',
        '{"type":"begin","sample_rate":8000}',
        '{"type":"' + "\ud800" + '"}',
    ],
)
def test_a_frame_that_is_broken_or_hostile_is_refused(frame: str) -> None:
    with pytest.raises(InvalidRequest):
        begun(frame)


def test_an_unknown_parameter_of_the_url_is_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        begun({"type": "start"}, ("langauge", "en"))
    assert "langauge" in refused.value.reason
