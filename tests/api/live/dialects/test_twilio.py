"""Twilio Media Streams and its cousins, from the messages in their documentation."""

import base64
import json
from typing import Any

import pytest

from app.api.live.dialects.frames import MOST_GARBLED
from app.api.live.dialects.incoming import Auth, Dialect, HeardTrack, Incoming, Start, Stop, Warn
from app.api.live.dialects.recognizing import Handshake, dialect_of
from app.audio.live_sound import Sound
from app.errors import InvalidRequest
from app.live.events import Transcript

CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
START: dict[str, Any] = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "AC00000000000000000000000000000001",
        "streamSid": "MZ00000000000000000000000000000002",
        "callSid": "CA00000000000000000000000000000003",
        "tracks": ["inbound", "outbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"language": "de", "external_id": "7", "key": "secret", "agent": "Anna"},
    },
    "streamSid": "MZ00000000000000000000000000000002",
}
SOUND = bytes(range(160))


def dialect(*query: tuple[str, str], first: object = CONNECTED) -> Dialect:
    return dialect_of(Handshake("/v1/live", query, "1"), json.dumps(first))


def read(dialect: Dialect, message: object) -> list[Incoming]:
    return list(dialect.read(json.dumps(message)))


def media(track: str | None = "inbound", timestamp: object = "40", payload: object = None) -> dict[str, Any]:
    sound = base64.b64encode(SOUND).decode() if payload is None else payload
    told = {"chunk": "2", "timestamp": timestamp, "payload": sound}
    return {"event": "media", "sequenceNumber": "3", "media": told if track is None else {**told, "track": track}}


def started(start: dict[str, Any], *query: tuple[str, str]) -> tuple[Dialect, Start]:
    stream = dialect(*query)
    read(stream, CONNECTED)
    return stream, next(each for each in read(stream, start) if isinstance(each, Start))


def with_start(**members: Any) -> dict[str, Any]:
    return {**START, "start": {**START["start"], **members}}


def test_a_call_of_twilio() -> None:
    stream = dialect()
    assert read(stream, CONNECTED) == []
    auth, start = read(stream, START)
    assert auth == Auth("secret")
    assert isinstance(start, Start)
    assert start.call.sound == Sound("mulaw", 8000, 2)
    assert start.call.ask.options.channel_labels == ("customer", "agent")
    assert start.call.ask.options.language == "de"
    assert start.call.ask.external_id == "7"
    assert start.call.ask.metadata == {
        "streamSid": "MZ00000000000000000000000000000002",
        "callSid": "CA00000000000000000000000000000003",
        "agent": "Anna",
    }
    assert read(stream, media("inbound", "40")) == [HeardTrack(0, SOUND, 0.04)]
    assert read(stream, media("outbound", "20")) == [HeardTrack(1, SOUND, 0.02)]
    assert read(stream, {"event": "mark", "mark": {"name": "a"}}) == []
    assert read(stream, {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "1"}}) == []
    assert read(stream, {"event": "stop", "stop": {"accountSid": "AC0", "callSid": "CA0"}}) == [Stop()]


@pytest.mark.parametrize(("track", "label"), [("inbound", "customer"), ("outbound", "agent")])
def test_a_stream_with_one_track_is_mono(track: str, label: str) -> None:
    stream, start = started(with_start(tracks=[track]))
    assert start.call.sound.channels == 1
    assert start.call.ask.options.channel_labels == (label,)
    assert read(stream, media(track)) == [HeardTrack(0, SOUND, 0.04)]
    other = "outbound" if track == "inbound" else "inbound"
    assert [type(each) for each in read(stream, media(other))] == [Warn]
    assert read(stream, media(other)) == []


def test_telnyx_writes_snake_case_and_does_not_list_its_tracks() -> None:
    start = {
        "event": "start",
        "sequence_number": "1",
        "start": {
            "user_id": "3E6F995F-85F7-4705-9741-53B116D28237",
            "call_control_id": "v2:T02llQxIyaRkhfRKxgAP8nY511EhFLizdvdUKJiSw8d6A9BborherQ",
            "from": "+13122010094",
            "client_state": "aGF2ZSBhIG5pY2UgZGF5ID1d",
            "media_format": {"encoding": "PCMA", "sample_rate": 8000, "channels": 1},
        },
        "stream_id": "32DE0DEA-53CB-4B21-89A4-9E1819C043BC",
    }
    stream = dialect(first={"event": "connected", "version": "1.0.0"})
    connected = {"event": "connected", "version": "1.0.0", "x-telnyx-streaming-auth-token": "secret"}
    assert read(stream, connected) == [Auth("secret")]
    (begun,) = read(stream, start)
    assert isinstance(begun, Start)
    assert begun.call.sound == Sound("alaw", 8000, 2)
    assert begun.call.ask.metadata["stream_id"] == "32DE0DEA-53CB-4B21-89A4-9E1819C043BC"
    assert "user_id" not in begun.call.ask.metadata
    message = {
        "event": "media",
        "sequence_number": "4",
        "media": {"track": "outbound", "chunk": "2", "timestamp": "5", "payload": base64.b64encode(SOUND).decode()},
        "stream_id": "32DE0DEA-53CB-4B21-89A4-9E1819C043BC",
    }
    assert read(stream, message) == [HeardTrack(1, SOUND, 0.005)]


def test_telnyx_with_one_track_says_so_in_the_url() -> None:
    start = {"event": "start", "start": {"media_format": {"encoding": "PCMU"}}, "stream_id": "1"}
    stream, begun = started(start, ("channels", "1"))
    assert begun.call.sound == Sound("mulaw", 8000, 1)
    assert read(stream, media("outbound")) == [HeardTrack(0, SOUND, 0.04)]


def test_exotel_sends_linear_sound_of_one_track_without_a_name() -> None:
    start = {
        "event": "start",
        "sequence_number": "1",
        "stream_sid": "MZxxxxxxxxxxxxxxxxxxxxxxxx",
        "start": {
            "stream_sid": "MZxxxxxxxxxxxxxxxxxxxxxxxx",
            "call_sid": "CAxxxxxxxxxxxxxxxxxxxxxxxx",
            "account_sid": "ACxxxxxxxxxxxxxxxxxxxxxxxx",
            "from": "+919876543210",
            "to": "+918047491899",
            "custom_parameters": {"language": "hi"},
            "media_format": {"encoding": "audio/x-raw", "sample_rate": "16000", "bit_rate": "16"},
        },
    }
    stream, begun = started(start, ("sample-rate", "16000"))
    assert begun.call.sound == Sound("pcm_s16le", 16_000, 1)
    assert begun.call.ask.options.language == "hi"
    assert begun.call.ask.metadata["from"] == "+919876543210"
    assert read(stream, media(None, "200")) == [HeardTrack(0, SOUND, 0.2)]


def test_twilio_gets_events_only_if_it_asks_for_them() -> None:
    event = Transcript(0, "customer", 0, "Hello.", 0.5, 1.5)
    stream, _ = started(START)
    assert stream.write(event) == []
    asking, start = started(with_start(customParameters={"events": "true"}))
    assert json.loads(asking.write(event)[0]) == event.as_json()
    assert "events" not in start.call.ask.metadata


def test_garbled_sound_is_left_out_with_one_warning_until_it_is_too_much() -> None:
    stream, _ = started(START)
    assert [type(each) for each in read(stream, media(payload="%%%"))] == [Warn]
    assert read(stream, media()) == [HeardTrack(0, SOUND, 0.04)]
    garbled: list[object] = [7, None, [], "ÄÄ", "a"]
    for payload in garbled:
        message = media()
        message["media"]["payload"] = payload
        assert read(stream, message) == []
    for _ in range(MOST_GARBLED - 6):
        assert read(stream, media(payload="*")) == []
    with pytest.raises(InvalidRequest, match="base64"):
        read(stream, media(payload="*"))


@pytest.mark.parametrize("timestamp", [None, "x", "-5", -5, True, [], "9" * 400, 10**400, 1e300, "1e3"])
def test_a_time_that_is_none_is_ignored(timestamp: object) -> None:
    stream, _ = started(START)
    assert read(stream, media(timestamp=timestamp)) == [HeardTrack(0, SOUND, None)]


@pytest.mark.parametrize(
    "members",
    [
        {"mediaFormat": {"encoding": "G722", "sampleRate": 8000}},
        {"mediaFormat": {"encoding": ["audio/x-mulaw"]}},
        {"mediaFormat": {"encoding": "PCMU", "sampleRate": 1}},
        {"mediaFormat": {"encoding": "PCMU", "sampleRate": {"a": 1}}},
        {"mediaFormat": "mulaw"},
        {"customParameters": ["language"]},
        {"customParameters": {"language": "klingon"}},
        {"customParameters": {"language": 7}},
        {"customParameters": {"channels": "many"}},
        {"customParameters": {"metadata": "7"}},
    ],
)
def test_a_start_that_cannot_be_read_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        started(with_start(**members))


@pytest.mark.parametrize("message", [media(), {"event": "start", "start": 7}, {"event": "media"}, START])
def test_events_in_the_wrong_place_are_refused(message: object) -> None:
    stream = dialect()
    if message == START:
        read(stream, START)
    with pytest.raises(InvalidRequest):
        read(stream, message)


def test_metadata_that_do_not_fit_are_left_out() -> None:
    parameters = {"note": "x" * 5000, "nul": "a\0b", "agent": "Anna"}
    stream = dialect()
    start, warning = read(stream, with_start(customParameters=parameters))
    assert isinstance(start, Start)
    assert start.call.ask.metadata["agent"] == "Anna"
    assert isinstance(warning, Warn)
    assert "note, nul" in warning.message


def test_binary_frames_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="media"):
        dialect().read(b"sound")
