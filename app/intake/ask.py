"""What every way in hands to `Intake.accept`, and what it gets back: a recording, what is asked for it, and a job.

These are values without behaviour. A form, a JSON body, a folder or a message can be made into them.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from app.audio.raw import raw_sound
from app.deliveries.outputs import Output
from app.storage.store import StoredAudio
from app.transcripts.transcript import Options

if TYPE_CHECKING:  # the settings import this module, and SQLAlchemy would make every command start slowly
    from app.jobs.models import Transcription

DEFAULT_MODEL = ""
"""In the options of an Ask, this stands for the first model that the service serves."""
DEFAULT_PRIORITY = 5
UPLOAD = "upload"


@dataclass(frozen=True)
class Stored:
    """A recording that `Intake.receiving` has saved. `filename` is the sender's name for it, unchanged.

    `source` says where it came from: `upload`, or the URL `file:///…` of a file in a watched folder.
    """

    audio: StoredAudio
    filename: str | None = None
    source: str = UPLOAD


@dataclass(frozen=True)
class Remote:
    """A recording that a worker fetches later. `filename` is the sender's name for it, if it gives one."""

    url: str
    filename: str | None = None


@dataclass(frozen=True)
class Ask:
    """What is asked for a recording. Without a priority or receivers, the defaults apply.

    `default_priority` is that of the way in. `is_awaited` says that the sender waits for the job's end on its
    connection. It repeats its request without an idempotency key, and loses interest in the job when it hangs up.
    If it `diarizes_one_channel`, the speakers of a recording are told apart by their voices if it has one channel only.
    `output` is what the sender asks for, in a place that the operator allows. `folder_output` is what a watched folder
    writes besides, wherever the operator wants it.
    """

    options: Options = Options(model=DEFAULT_MODEL)  # noqa: RUF009  frozen
    priority: int | None = None
    default_priority: int = DEFAULT_PRIORITY
    is_awaited: bool = False
    diarizes_one_channel: bool = False
    external_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    webhook_url: str | list[str] | None = None
    callback_url: str | list[str] | None = None
    output: Output | None = None
    folder_output: Output | None = None


@dataclass(frozen=True)
class Accepted:
    """The job, and whether it is new. A repeated request leads to the job of the first one."""

    job: "Transcription"
    is_new: bool


def fingerprint(recording: Stored | Remote, ask: Ask, filename: str | None) -> str:
    """A hash by which a repeated request is compared with the first one.

    Values that are the default are left out, so that an option that a later version adds changes no fingerprint.
    """
    usual, asked = _usual(), _flat(ask)
    request = {name: value for name, value in asked.items() if value != usual[name]}
    if isinstance(recording, Remote):
        request["url"] = recording.url
    request |= {"sha256": recording.audio.sha256 if isinstance(recording, Stored) else None, "filename": filename}
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def request_hash(recording: Stored, ask: Ask, filename: str | None) -> str:
    """A hash of the recording and of all that is asked of its transcript, by which a repeated request is found.

    `ask` has the options in force. The file's name counts only if it says what the recording holds, because some
    clients make a new name each time.
    """
    named = raw_sound(ask.options, filename) is not None
    asked = replace(ask, options=replace(ask.options, reports_text=False))
    return fingerprint(recording, asked, filename if named else None)


def _flat(ask: Ask) -> dict[str, Any]:
    priority = ask.default_priority if ask.priority is None else ask.priority
    values = dict(vars(ask))  # not asdict, which copies deeply: a batch asks for 100,000 recordings
    for name in ("options", "default_priority", "is_awaited"):
        del values[name]
    outputs = {name: asdict(value) for name, value in values.items() if isinstance(value, Output)}
    options = {each.name: getattr(ask.options, each.name) for each in fields(ask.options)}
    return {**values, **outputs, **options, "priority": priority}


@cache
def _usual() -> dict[str, Any]:
    return _flat(Ask())
