"""Names of recordings and transcripts on the command line, and files that are written completely or not at all.

It must not know the engine, so that commands which only send recordings to a server start fast.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from app.audio.raw import BY_SUFFIX
from app.process.folders import sync_folder
from app.transcripts.formats import Format

# Files in a folder count as recordings if their names end like this. A file that the user names may have any ending.
SUFFIXES = frozenset(
    ".3gp .aac .ac3 .aif .aiff .amr .au .avi .awb .caf .dss .flac .gsm .m4a .m4b .mka .mkv .mov .mp2 .mp3 .mp4 .mpga"
    " .mpeg .oga .ogg .opus .ts .tta .voc .w64 .wav .webm .wma .wv".split()
) | {f".{suffix}" for suffix in BY_SUFFIX}
EXTENSIONS = {form: form.value for form in Format} | {Format.TEXT: "txt", Format.WHISPER: "whisper.json"}
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def printable(name: str) -> str:
    """Returns a file's name as Unicode, with `?` for each byte that is not Unicode and for control characters."""
    return CONTROL_CHARACTERS.sub("?", name.encode(errors="replace").decode())


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Writes the file completely or not at all. A durable file survives a power cut. Raises OSError."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
        if durable:
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
