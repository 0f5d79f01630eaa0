"""Metadata and then sound, as FreeSWITCH, jambonz, Vonage and Asterisk send them."""

import json

import pytest

from app.api.live.dialects.incoming import Dialect, Heard, HeardTrack, Incoming, Start, Stop, Warn
from app.api.live.dialects.recognizing import Handshake, dialect_of
from app.audio.live_sound import Sound
from app.errors import InvalidRequest
from app.live.events import Transcript

TEXT = Transcript(0, "speaker", 0, "Hello.", 0.5, 1.5)
MEDIA_START = (
    "MEDIA_START connection_id:media_connection1 channel:WebSocket/media_connection1/0x9e format:ulaw "
    "optimal_frame_size:160"
)


def begun(first: object, url: str = "") -> tuple[Dialect, list[Incoming]]:
    query = [(name, text) for name, _, text in (each.partition("=") for each in url.split("&")) if name]
    frame = first if isinstance(first, str | bytes) else json.dumps(first)
    dialect = dialect_of(Handshake("/v1/live", query, "1"), frame)
    return dialect, list(dialect.read(frame))


def call_of(incoming: list[Incoming]) -> Start:
    assert isinstance(incoming[0], Start)
    return incoming[0]


def test_freeswitch_sends_its_metadata_and_then_sound() -> None:
    told = {"uuid": "9e1b", "caller": {"number": "100"}}
    dialect, incoming = begun(told, "rate=8000&channels=2&language=de&external_id=7&channel_labels=customer,agent")
    start = call_of(incoming)
    assert start.call.sound == Sound("pcm_s16le", 8000, 2)
    assert start.call.ask.metadata == told
    assert start.call.ask.external_id == "7"
    assert start.call.ask.options.channel_labels == ("customer", "agent")
    assert dialect.read(b"\0\1") == [Heard(b"\0\1")]
    assert dialect.read('{"event":"dtmf","digit":"5"}') == []
    assert dialect.read("anything") == []
    assert dialect.read('{"type":"stop"}') == [Stop()]
    assert json.loads(dialect.write(TEXT)[0])["text"] == "Hello."


def test_the_sound_is_wide_and_mono_if_nothing_says_it() -> None:
    for told in ({"uuid": "9e1b"}, {}):
        assert call_of(begun(told)[1]).call.sound == Sound("pcm_s16le", 16_000, 1)


def test_a_url_with_events_false_sends_none() -> None:
    dialect, _ = begun({"uuid": "9e1b"}, "events=false")
    assert dialect.write(TEXT) == []


def test_jambonz_says_what_its_sound_is() -> None:
    told = {"callSid": "9fb35c28", "direction": "inbound", "from": "+15083084809", "sampleRate": 8000}
    start = call_of(begun({**told, "mixType": "stereo"})[1])
    assert start.call.sound == Sound("pcm_s16le", 8000, 2)
    assert start.call.ask.metadata["callSid"] == "9fb35c28"
    assert call_of(begun({**told, "mixType": "mono"}, "rate=16000")[1]).call.sound == Sound("pcm_s16le", 16_000, 1)


def test_vonage_says_what_its_sound_is_and_gets_no_events() -> None:
    told = {"event": "websocket:connected", "content-type": "audio/l16;rate=8000", "prop1": "value1"}
    dialect, incoming = begun(told)
    assert call_of(incoming).call.sound == Sound("pcm_s16le", 8000, 1)
    assert dialect.write(TEXT) == []


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("ulaw", Sound("mulaw", 8000)),
        ("alaw", Sound("alaw", 8000)),
        ("slin", Sound("pcm_s16le", 8000)),
        ("slin16", Sound("pcm_s16le", 16_000)),
        ("slin44", Sound("pcm_s16le", 44_100)),
        ("slin48", Sound("pcm_s16le", 48_000)),
    ],
)
def test_asterisk_says_what_its_sound_is(name: str, sound: Sound) -> None:
    dialect, incoming = begun(MEDIA_START.replace("ulaw", name))
    start = call_of(incoming)
    assert start.call.sound == sound
    assert start.call.ask.metadata["connection_id"] == "media_connection1"
    assert start.shared_as is None
    assert dialect.read("MEDIA_XOFF") == []
    assert dialect.write(TEXT) == []
    as_json = {"event": "MEDIA_START", "connection_id": "1", "format": name, "optimal_frame_size": 160}
    assert call_of(begun(as_json)[1]).call.sound == sound


def test_two_connections_of_asterisk_are_the_tracks_of_one_call() -> None:
    dialect, incoming = begun(MEDIA_START, "call=1700.1&channel=1&channel_labels=customer,agent")
    start = call_of(incoming)
    assert start.shared_as == "1700.1"
    assert start.call.sound == Sound("mulaw", 8000, 2)
    assert dialect.read(b"\xff") == [HeardTrack(1, b"\xff")]


@pytest.mark.parametrize(
    "url", ["channel=1", "call=1", "call=&channel=0", "call=1&channel=2", f"call={'x' * 300}&channel=0"]
)
def test_a_track_needs_a_call_and_a_channel(url: str) -> None:
    with pytest.raises(InvalidRequest):
        begun(MEDIA_START, url)


def test_sound_may_come_first_if_the_url_says_what_it_is() -> None:
    dialect, incoming = begun(b"\xff\xff", "encoding=mulaw")
    assert call_of(incoming).call.sound == Sound("mulaw", 8000)
    assert incoming[1:] == [Heard(b"\xff\xff")]
    assert dialect.read(b"\xff") == [Heard(b"\xff")]


def test_a_first_frame_of_plain_text_is_kept_if_the_url_says_what_the_sound_is() -> None:
    assert call_of(begun("my payload", "rate=8000")[1]).call.ask.metadata == {"text": "my payload"}


@pytest.mark.parametrize("first", [b"\0\0", "my payload"])
def test_a_first_frame_that_says_nothing_is_refused(first: object) -> None:
    with pytest.raises(InvalidRequest, match="URL"):
        begun(first)


@pytest.mark.parametrize(
    ("first", "url"),
    [
        (MEDIA_START.replace("ulaw", "opus"), ""),
        ("MEDIA_START", ""),
        ({"event": "websocket:connected", "content-type": 7}, ""),
        ({"callSid": "1", "mixType": "mono", "sampleRate": "fast"}, ""),
        ({"callSid": "1", "mixType": "mono", "sampleRate": 64_000}, ""),
        ({}, "rate=fast"),
        ({}, "rate=8000&rate=16000"),
        ({}, "channels=3"),
        ({}, "encoding=opus"),
        ({}, "events=perhaps"),
        ({}, "colour=red"),
        ("[1]", ""),
    ],
)
def test_sound_that_cannot_be_read_is_refused(first: object, url: str) -> None:
    with pytest.raises(InvalidRequest):
        begun(first, url)


def test_metadata_of_a_megabyte_do_not_stop_a_call() -> None:
    told = {f"header {number}": "x" * 40 for number in range(20_000)}
    _, incoming = begun(told)
    start, warning = incoming
    assert isinstance(start, Start)
    assert 40 < len(start.call.ask.metadata) < 100
    assert isinstance(warning, Warn)
