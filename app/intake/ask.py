"""What every way in hands to `Intake.accept`, and what it gets back: a recording, what is asked for it, and a job.

These are values without behaviour. A form, a JSON body, a folder or a message can be made into them.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any
from unicodedata import category

from app.jobs.models import Transcription
from app.storage.store import StoredAudio
from app.transcripts.transcript import Options

DEFAULT_MODEL = ""
"""In the options of an Ask, this stands for the first model that the service serves."""
DEFAULT_PRIORITY = 5
MAX_NAME_CHARACTERS = 255
MAX_ENDING_CHARACTERS = 16
JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Stored:
    """A recording that `Intake.receiving` has saved. `filename` is the sender's name for it, unchanged."""

    audio: StoredAudio
    filename: str | None = None


@dataclass(frozen=True)
class Remote:
    """A recording that a worker fetches later."""

    url: str


@dataclass(frozen=True)
class Ask:
    """What is asked for a recording. Without a priority or receivers, the service's defaults apply."""

    options: Options = Options(model=DEFAULT_MODEL)  # noqa: RUF009  frozen
    priority: int | None = None
    external_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    webhook_url: str | list[str] | None = None
    callback_url: str | list[str] | None = None


@dataclass(frozen=True)
class Accepted:
    """The job, and whether it is new. A repeated idempotency key leads to the job of the first request."""

    job: Transcription
    is_new: bool


def fingerprint(recording: Stored | Remote, ask: Ask, filename: str | None) -> str:
    """A hash by which a repeated request is compared with the first one.

    Values that are the default are left out, so that an option that a later version adds changes no fingerprint.
    """
    usual, asked = _flat(Ask()), _flat(ask)
    request = {name: value for name, value in asked.items() if value != usual[name]}
    if isinstance(recording, Remote):
        request["url"] = recording.url
    request |= {"sha256": recording.audio.sha256 if isinstance(recording, Stored) else None, "filename": filename}
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _flat(ask: Ask) -> dict[str, Any]:
    priority = DEFAULT_PRIORITY if ask.priority is None else ask.priority
    values = asdict(ask)
    del values["options"]
    return {**values, **asdict(ask.options), "priority": priority}


def shown_name(filename: str | None) -> str | None:
    """A sender's name for a file, as it is shown: without folders and control characters.

    It has at most 255 characters. If the name is longer, its ending, such as `.wav`, is kept.
    """
    if filename is None:
        return None
    name = "".join(filter(_is_shown, filename.replace("\\", "/").rsplit("/", 1)[-1]))
    ending = PurePath(name).suffix
    if len(name) > MAX_NAME_CHARACTERS and len(ending) <= MAX_ENDING_CHARACTERS:
        return name[: MAX_NAME_CHARACTERS - len(ending)] + ending
    return name[:MAX_NAME_CHARACTERS] or None


def _is_shown(character: str) -> bool:
    """Macs write unusual spaces into names, and Persian and Indic scripts need joiners. Python prints neither."""
    return character.isprintable() or category(character) == "Zs" or character in JOINERS
