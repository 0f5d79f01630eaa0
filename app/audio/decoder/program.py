"""The program of the decoder's process: it limits and contains itself, then decodes one recording.

    python -I program.py REQUEST < recording

It exists because FFmpeg parses bytes of strangers. `app/audio/decoder_process.py` starts it with a request in JSON.
The program prints two lines of JSON. The first one says what contains this process. It is printed before FFmpeg sees a
byte, so that the recording is not blamed if something goes wrong earlier. The second line is the answer.

The contained process cannot open any file. So all modules are imported, and all files opened, before `contain`. From
outside the standard library, this package and `app.audio.containment`, the program may import only PyAV.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

sys.path.insert(0, str(Path(__file__).parents[3]))
from app.audio.containment import fence
from app.audio.decoder import answers, channels, memory, tracks
from app.audio.decoder.channels import Output
from app.audio.decoder.recording import Recording


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Limit and contain this process, print the first line, and do what the request asks. Returns the second line."""
    output = Output(**request["output"]) if "output" in request else None
    if request.get("report"):
        from app.audio.containment import escapes  # it imports modules that decoding does not need
    fence.depend_on_the_service()
    if output:  # not for reading a header, because a client waits for that
        fence.yield_the_processor()
    fence.limit(**request["limits"])
    memory.limit_bytes()
    try:
        files = channels.open_files(output) if output else []
    except OSError as error:
        return answers.trouble(error, answers.CANNOT_WRITE)
    print_line({"contained_by": fence.contain()})
    return {"possible": escapes.possible()} if request.get("report") else answer(files, output)


def answer(files: list[BinaryIO], output: Output | None) -> dict[str, Any]:
    """Returns facts of the recording, what is wrong with it, or why this machine could not decode it."""
    recording = Recording()
    try:
        found = inspect_or_decode(recording, files, output)
    except Exception as error:  # noqa: BLE001  FFmpeg and PyAV have many exceptions for bytes that are wrong
        found = answers.for_error(error)
    if recording.trouble is not None:
        return answers.trouble(recording.trouble, "the recording cannot be read")
    return found


def inspect_or_decode(recording: Recording, files: list[BinaryIO], output: Output | None) -> dict[str, Any]:
    """Read the header, and if there is an output also write the channels. Raises Refused and errors of FFmpeg."""
    with tracks.open_recording(recording) as container:
        stream = tracks.choose_stream(container)
        info = tracks.read_header(container, stream)
        return {"info": info, **(channels.write_channels(container, stream, files, output) if output else {})}


def print_line(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201


if __name__ == "__main__":
    print_line(main(json.loads(sys.argv[1])))
    os._exit(0)
