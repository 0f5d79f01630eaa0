"""Files that attackers could send, each with its expected outcome: `decoded` or an error's code."""

import gzip
import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from testing.media import ENCODED, PNG, flac_silence, tones, wav_header, write_audio, write_movie
from testing.recordings import tone

ADDRESSES = {"path": "{path}", "file": "file://{path}", "http": "http://127.0.0.1:{port}/secret.wav"}
LISTINGS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n",
    "m3u8 with a key": '#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-KEY:METHOD=AES-128,URI="{address}"\n'
    "#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n",
    "m3u8 of m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9000\n{address}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{address}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=call\nc=IN IP4 127.0.0.1\nm=audio {port} RTP/AVP 0\na=control:{address}\n",
    "mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="audio/wav"><Representation id="0" bandwidth="9000"><BaseURL>{address}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "asx": '<asx version="3.0"><entry><ref href="{address}"/></entry></asx>',
    "pls": "[playlist]\nFile1={address}\nNumberOfEntries=1\nVersion=2\n",
    "rtsp": "RTSPtextRTSP://{address}\n",
    "lavfi": "amovie={address}",
}


def listings(secret: Path, port: int) -> Iterator[tuple[str, bytes, str]]:
    """Yields playlists of every kind. They name a recording on this disk, or a server on this machine."""
    for kind, listing in LISTINGS.items():
        for way, form in ADDRESSES.items():
            address = form.format(path=secret, port=port)
            yield f"{kind}, {way}", listing.format(address=address, port=port).encode(), "unsupported_media"


def others(folder: Path) -> Iterator[tuple[str, bytes, str]]:
    """Yields files that are not recordings, have no audio, or announce impossible values."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("call.wav", tone())
    for name, content in {
        "empty": b"",
        "one byte": b"R",
        "text": b"Good morning, how can I help you?\n" * 50,
        "html": b"<!doctype html><html><body><audio src=/etc/passwd></body></html>",
        "png": PNG,
        "pdf": b"%PDF-1.7\n" + bytes(1000),
        "program": b"\x7fELF\x02\x01\x01" + bytes(1000),
        "zip": archive.getvalue(),
        "gzip": gzip.compress(tone()),
        "zeros": bytes(10_000),
        "0 channels": wav_header(channels=0) + bytes(4_000),
        "64 channels": wav_header(channels=64) + bytes(64_000),
        "32767 channels": wav_header(channels=32_767) + bytes(140_000),
        "0 Hz": wav_header(rate=0) + bytes(4_000),
        "1 Hz": wav_header(rate=1) + bytes(4_000),
        "768 kHz": wav_header(rate=768_000) + bytes(40_000),
        "4 GHz": wav_header(rate=0xFFFF_FFFF) + bytes(40_000),
    }.items():
        yield name, content, "unsupported_media"
    yield "no samples", wav_header(samples=0), "decoded"
    yield "4 GB announced", wav_header() + bytes(16_000), "decoded"
    yield "a day of silence of no announced length", flac_silence(24, announced_seconds=0), "too_long"
    yield "mp4 without sound", write_movie(folder / "silent.mp4", None).read_bytes(), "no_audio"
    yield "avi without sound", write_movie(folder / "silent.avi", None).read_bytes(), "no_audio"
    mp3 = write_audio(folder / "call", tones([440], 8_000, 1.0), 8_000, container="mp3", codec="mp3").read_bytes()
    yield "huge cover art", cover_art(20_000_000) + mp3, "decoded"
    yield "cover art cut off", cover_art(20_000_000)[:1_000_000], "unsupported_media"


def cover_art(size: int) -> bytes:
    """Returns an ID3v2.3 tag with one picture of `size` bytes."""
    picture = b"\0image/png\0\x03\0" + PNG + bytes(size)
    frame = b"APIC" + struct.pack(">I2x", len(picture)) + picture
    return b"ID3\x03\0\0" + bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0)) + frame


def truncated(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yields a recording in each container, cut off in its header."""
    seen = set()
    for container, codec, rate, channels in ENCODED:
        if container not in seen:
            seen.add(container)
            samples = tones([440] * channels, rate, 1.0)
            whole = write_audio(folder / "call", samples, rate, container=container, codec=codec).read_bytes()
            yield f"{container}, cut in its header", whole[:40]
