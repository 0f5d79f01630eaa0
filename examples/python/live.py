"""Plays a WAV file to Callscribe as if it were a call that goes on, and prints the text as it comes.

    pip install websockets
    python live.py call.wav [--url http://127.0.0.1:8000] [--language en] [--labels agent,customer] [--speed 1]

The key, if the service wants one, is in the environment as CALLSCRIBE_KEY. The file is 16-bit PCM or G.711, with one or
two channels. At the end the program prints where the transcription is.
"""

import argparse
import asyncio
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

PIECE_SECONDS = 0.1
ENCODINGS = {1: "pcm_s16le", 6: "alaw", 7: "mulaw"}


def read_wav(path: Path) -> tuple[dict[str, Any], bytes]:
    """Returns what the sound is, in the words of the service, and the sound."""
    content, at = path.read_bytes(), 12
    sound: dict[str, Any] = {}
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        if name == b"fmt ":
            tag, channels, rate = struct.unpack_from("<HHI", content, at + 8)
            sound = {"encoding": ENCODINGS[tag], "sample_rate": rate, "channels": channels}
        if name == b"data":
            return sound, content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    raise SystemExit(f"{path} has no sound")


async def send(connection: ClientConnection, sound: dict[str, Any], audio: bytes, speed: float) -> None:
    width = (2 if sound["encoding"] == "pcm_s16le" else 1) * sound["channels"]
    piece = round(PIECE_SECONDS * sound["sample_rate"]) * width
    clock = asyncio.get_running_loop()
    began = clock.time()
    for number, at in enumerate(range(0, len(audio), piece)):
        await asyncio.sleep(max(0.0, began + number * PIECE_SECONDS / speed - clock.time()))
        await connection.send(audio[at : at + piece])
    await connection.send(json.dumps({"type": "stop"}))


async def read(connection: ClientConnection) -> bool:
    """Prints texts until the call has ended. Returns whether it became a transcription."""
    async for message in connection:
        told = json.loads(message)
        if told["type"] == "partial":
            print(f"\r\033[K{told['speaker']}: {told['text']} …", end="", flush=True)
        elif told["type"] == "transcript" and told["text"]:
            print(f"\r\033[K{told['start']:7.1f}  {told['speaker']}: {told['text']}", flush=True)
        elif told["type"] == "warning":
            print(f"\r\033[Kwarning: {told['message']}", file=sys.stderr)
        elif told["type"] == "error":
            print(f"{told['code']}: {told['message']}", file=sys.stderr)
        elif told["type"] == "stopped":
            print(f"\r\033[KThe call is over. Its transcription: {told['links'].get('transcription')}")
            return told["id"] is not None
    return False


async def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the service; CALLSCRIBE_KEY has its key")
    parser.add_argument("--language")
    parser.add_argument("--labels", default="")
    parser.add_argument("--speed", type=float, default=1.0, help="10 sends ten times as fast as people speak")
    arguments = parser.parse_args()
    sound, audio = read_wav(arguments.file)
    start: dict[str, Any] = {"type": "start", **sound, "external_id": arguments.file.name}
    if arguments.language:
        start["language"] = arguments.language
    if arguments.labels:
        start["channel_labels"] = arguments.labels.split(",")
    key = os.environ.get("CALLSCRIBE_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    address = f"ws{arguments.url.removeprefix('http').rstrip('/')}/v1/live"
    try:
        async with connect(address, additional_headers=headers) as connection:
            await connection.send(json.dumps(start))
            sending = asyncio.create_task(send(connection, sound, audio, arguments.speed))
            try:
                return await read(connection)
            finally:
                sending.cancel()
    except (OSError, WebSocketException) as error:
        print(f"{address}: {error}", file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)
