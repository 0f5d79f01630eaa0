"""Whatever a client sends, a dialect answers, or says what is wrong."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.live.dialects.openai import OpenAIDialect
from app.api.live.dialects.own import OwnDialect
from app.api.live.dialects.pcm import PcmDialect
from app.api.live.dialects.recognizing import Handshake, dialect_of, realtime_dialect
from app.api.live.dialects.twilio import TwilioDialect
from app.errors import AppError
from app.intake.model_names import ModelNames

MODELS = ModelNames(["base"])
NAMES = (
    "type event start media mediaFormat media_format encoding sampleRate sample_rate channels tracks customParameters "
    "language languages external_id metadata model payload track timestamp stream_id session audio input format "
    "transcription turn_detection rate prompt keywords silence_duration_ms eagerness mixType content-type output redact"
)
WORDS = (
    "auth start stop keep_alive connected media session.update transcription_session.update transcription server_vad "
    "input_audio_buffer.append input_audio_buffer.commit websocket:connected MEDIA_START audio/pcm inbound 8000 AAAA"
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS.split())
MESSAGES = st.dictionaries(
    st.sampled_from(NAMES.split()),
    st.recursive(
        PLAIN,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=4),
        max_leaves=8,
    ),
    max_size=6,
)
KINDS = st.fixed_dictionaries({}, optional={name: st.sampled_from(WORDS.split()) for name in ("type", "event")})
QUERY = st.lists(
    st.tuples(
        st.sampled_from(["rate", "channels", "encoding", "language", "events", "call", "channel", "metadata"]),
        st.text(max_size=3) | st.sampled_from(["8000", "2", "mulaw", "true", "1", "{}"]),
    ),
    max_size=3,
)


@pytest.mark.parametrize("path", ["/v1/live", "/v1/realtime"])
@given(messages=st.lists(st.tuples(MESSAGES, KINDS), min_size=1, max_size=4), query=QUERY)
@settings(max_examples=100)
def test_no_message_is_an_accident(
    path: str, messages: list[tuple[dict[str, Any], dict[str, str]]], query: list[tuple[str, str]]
) -> None:
    frames = [json.dumps({**message, **kinds}) for message, kinds in messages]
    handshake = Handshake(path, query, "1")
    with suppress(AppError):
        dialect = realtime_dialect(handshake, MODELS) if handshake.is_realtime else dialect_of(handshake, frames[0])
        for frame in frames:
            dialect.read(frame)


@pytest.mark.parametrize(
    ("first", "query", "kind"),
    [
        ('{"type":"start"}', [], OwnDialect),
        ('{"type":"auth"}', [("rate", "8000")], OwnDialect),
        ('{"type":"begin"}', [], OwnDialect),
        ('{"type":"metadata","uuid":"1"}', [("rate", "8000")], PcmDialect),
        ('{"event":"connected"}', [], TwilioDialect),
        ('{"event":"start","start":{}}', [], TwilioDialect),
        ('{"event":"websocket:connected"}', [], PcmDialect),
        ('{"event":"MEDIA_START"}', [], PcmDialect),
        ("MEDIA_START format:ulaw", [], PcmDialect),
        ('{"callSid":"1"}', [], PcmDialect),
        (b"\0", [("rate", "8000")], PcmDialect),
    ],
)
def test_the_first_frame_says_which_dialect_it_is(
    first: str | bytes, query: list[tuple[str, str]], kind: type[object]
) -> None:
    assert isinstance(dialect_of(Handshake("/v1/live", query, "1"), first), kind)


@pytest.mark.parametrize("path", ["/v1/realtime", "/v1/realtime/", "/calls/v1/realtime"])
def test_the_path_says_that_a_client_is_openais(path: str) -> None:
    handshake = Handshake(path, [("intent", "transcription")], "1")
    assert handshake.is_realtime
    assert isinstance(realtime_dialect(handshake, MODELS), OpenAIDialect)
