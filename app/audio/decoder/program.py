"""The program of the decoder's process: it limits and contains itself, then decodes one recording.

    python -I program.py REQUEST < recording

It exists because FFmpeg parses bytes of strangers. `app/audio/decoder_process.py` starts it with a request in JSON.
The program prints two lines of JSON. The first one says what contains this process. It is printed before FFmpeg sees a
byte, so that the recording is not blamed if something goes wrong earlier. The second line is the answer.

If the request says `follows`, standard input is a pipe whose bytes are still to come. Then the program prints further
lines before the answer, which say how far the files have grown.

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
from app.audio.decoder import answers, channels, empty, memory, sections, tracks
from app.audio.decoder.answers import Refused
from app.audio.decoder.channels import ChannelFiles, Output
from app.audio.decoder.losses import Losses
from app.audio.decoder.recording import Recording, Section, Stream
from app.audio.decoder.sections import Raw, Sections


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Limit and contain this process, print the first line, and do what the request asks. Returns the second line."""
    output = Output(**request["output"]) if "output" in request else None
    raw = sections.raw_of(**request["raw"]) if request.get("raw") else None
    if request.get("report"):
        from app.audio.containment import escapes  # it imports modules that decoding does not need
    fence.depend_on_the_service()
    follows = bool(request.get("follows"))
    if output and not follows:  # a client waits for a header, and for the text of a live call
        fence.yield_the_processor()
    fence.limit(**request["limits"])
    memory.limit_bytes()
    try:
        files = channels.open_files(output) if output else []
    except OSError as error:
        return answers.trouble(error, answers.CANNOT_WRITE)
    print_line({"contained_by": fence.contain()})
    return {"possible": escapes.possible()} if request.get("report") else answer(files, output, raw, follows)


def answer(files: list[BinaryIO], output: Output | None, raw: Raw | None, follows: bool) -> dict[str, Any]:
    """Returns facts of the recording, what is wrong with it, or why this machine could not decode it."""
    recording = Stream() if follows else Recording()
    tell = tell_progress if follows else None
    try:
        found = inspect_or_decode(recording, raw, ChannelFiles(files, output, tell) if output else None)
    except Exception as error:  # noqa: BLE001  FFmpeg and PyAV have many exceptions for bytes that are wrong
        found = answers.for_error(error)
    if recording.trouble is not None:
        return answers.trouble(recording.trouble, "the recording cannot be read")
    return found


def inspect_or_decode(recording: Recording, raw: Raw | None, files: ChannelFiles | None) -> dict[str, Any]:
    """Read the header, and if there are files also write the channels. Raises Refused and errors of FFmpeg."""
    found = sections.stream_of(recording) if isinstance(recording, Stream) else sections.sections_of(recording, raw)
    losses = Losses()
    losses.bytes_left_out(found.unknown_bytes)
    try:
        info, header_seconds = each_section(found, losses, files)
    except Refused:
        nothing = empty.info_of(recording)
        if nothing is None:
            raise
        info, header_seconds = nothing, None
    if files is None:
        return {"info": info}
    losses.require_most_is_whole()
    if files.samples == 0 and (
        losses.read_packets or losses.broken_containers or recording.size() > empty.LARGEST_BYTES
    ):
        raise Refused("bad_media", "No audio could be decoded")
    while not files.lengths:
        files.add_channel()
    files.close()
    return {
        "info": info,
        "channels": len(files.lengths),
        "samples": files.samples,
        "header_seconds": header_seconds,
        "wav": found.wav,
        "losses": losses.answer(),
    }


def each_section(found: Sections, losses: Losses, files: ChannelFiles | None) -> tuple[dict[str, Any], float | None]:
    """Read the header of the first section that can be read, or decode all of them if there are files.

    Returns facts of that section, and the seconds that the headers of all announce, if all of them do. Raises Refused
    if no section can be read.
    """
    info: dict[str, Any] | None = None
    refusal: Refused | None = None
    header_seconds: float | None = 0.0
    for section in found.files:
        try:
            with tracks.open_recording(section, found.raw, found.options) as container:
                streams = tracks.choose_tracks(container, losses)
                facts = tracks.read_header(container, streams)
                info = info or facts
                if files is None:
                    break
                broken_before = losses.broken_containers
                skipped = channels.write_tracks(container, streams, files, losses)
                if losses.broken_containers > broken_before:
                    losses.bytes_left_out(section.left())
        except Refused as error:
            if error.code == "too_long":
                raise
            refusal = refusal or error
            losses.bytes_left_out(section.size if isinstance(section, Section) else 0)
            continue
        seconds = facts["duration_seconds"]
        header_seconds = None if seconds is None or header_seconds is None else header_seconds + seconds - skipped
    if info is None and refusal is not None:
        raise refusal
    assert info is not None
    return info, header_seconds


def tell_progress(channels: int, samples: int) -> None:
    print_line({"progress": [channels, samples]})


def print_line(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201


if __name__ == "__main__":
    print_line(main(json.loads(sys.argv[1])))
    os._exit(0)
