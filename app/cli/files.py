"""Transcribes files and folders with the engine alone, without the server and the database."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress, TaskID

from app.audio.decode import decode
from app.audio.raw import raw_sound
from app.cli.recordings import EXTENSIONS, SUFFIXES, printable, write_whole
from app.cli.tally import Tally
from app.errors import AppError
from app.speech.batching.batcher import EngineStopped
from app.speech.call.warnings import with_losses
from app.speech.model import DeviceLost
from app.transcripts.formats import Format, clock, render
from app.transcripts.subtitles import one_line
from app.transcripts.transcript import Options, Transcript, WarningCode

if TYPE_CHECKING:  # the engine takes seconds to import
    from app.speech.engine import Transcriber

# Four recordings at the same time fill the engine's batches. Each takes 115 MB of disk per hour and channel.
RECORDINGS_TOGETHER = 4


@dataclass(frozen=True)
class Output:
    """Where transcripts go, and in which formats.

    If there is a `folder`, each format becomes a file in it. Otherwise there is one format, and it is printed. `headed`
    prints the name of the recording above its text.
    """

    forms: tuple[Format, ...]
    folder: Path | None
    headed: bool = False

    def paths(self, recording: Path) -> dict[Format, Path]:
        """Returns the files of one recording. There are none without a folder."""
        if self.folder is None:
            return {}
        return {form: self.folder / f"{recording.stem}.{EXTENSIONS[form]}" for form in self.forms}

    def write(self, recording: Path, transcript: Transcript) -> str:
        """Writes the files, each completely or not at all. Returns the text to print, if any. Raises OSError."""
        texts = {form: render(transcript, printable(recording.name), form) for form in self.forms}
        if self.folder is None:
            head = f"==> {printable(str(recording))} <==\n" if self.headed and Format.TEXT in texts else ""
            return head + "".join(texts.values())
        for form, path in self.paths(recording).items():
            write_whole(path, texts[form].encode())
        return ""


@dataclass(frozen=True)
class Failure:
    """Says why a recording has no transcript. `reason` is one line of text."""

    reason: str


def recordings(paths: Iterable[Path]) -> list[Path]:
    """Returns the files and, for each folder, the recordings in it, sorted by name.

    It does not search folders inside the folders.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else []
        found += [each for each in inside if each.is_file() and each.suffix.lower() in SUFFIXES]
        found += [] if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def clashes(files: Sequence[Path]) -> list[Path]:
    """Returns the files whose transcripts would have the same name."""
    stems = Counter(file.stem for file in files)
    return [file for file in files if stems[file.stem] > 1]


@dataclass(frozen=True)
class Transcription:
    """Transcribes any number of recordings with one engine. Each has a progress bar while the engine works on it."""

    engine: "Transcriber"
    options: Options
    output: Output
    max_seconds: float
    progress: Progress

    tally: Tally = field(default_factory=Tally)

    async def run(self, files: Sequence[Path], show: Callable[[str], None]) -> Tally:
        """Transcribes the files, and calls `show` with each text to print, in the order of the files.

        An exception from `show`, EngineStopped or DeviceLost ends the work on all files.
        """
        slots = asyncio.Semaphore(RECORDINGS_TOGETHER)
        total = self.progress.add_task(f"{len(files)} recordings", total=len(files), visible=len(files) > 1)
        tasks = [asyncio.create_task(self._attempt(file, slots, total)) for file in files]
        try:
            for task in tasks:
                outcome = await task
                if isinstance(outcome, Failure):
                    self.tally.failed += 1
                elif outcome:
                    show(outcome)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.tally

    async def _attempt(self, file: Path, slots: asyncio.Semaphore, total: TaskID) -> str | Failure:
        async with slots:
            bar = self.progress.add_task(printable(file.name), total=1.0)
            try:
                transcript = await self._transcribe(file, bar)
                outcome: str | Failure = self.output.write(file, transcript)
                self._warn(file, transcript)
            except (EngineStopped, DeviceLost):
                raise
            except AppError as error:
                outcome = Failure(error.detail.replace("the field encoding has", "the option --encoding has"))
            except Exception as error:  # noqa: BLE001  one recording must not stop the others
                outcome = Failure(one_line(str(error)) or type(error).__name__)
            self.progress.remove_task(bar)
            self.progress.advance(total)
        if isinstance(outcome, Failure):
            self._report(file, outcome.reason)
        return outcome

    def _warn(self, file: Path, transcript: Transcript) -> None:
        """Counts the transcript if it has warnings. Prints them, unless the only output is JSON, which has them.

        It leaves out the warnings that a window was recognized again.
        """
        labels = {channel.index: channel.label for channel in transcript.channels if len(transcript.channels) > 1}
        warnings = [warning for warning in transcript.warnings if warning.code != WarningCode.WINDOW_REDECODED]
        self.tally.warned += bool(warnings)
        if self.output.forms != (Format.JSON,):
            for warning in warnings:
                at = "" if warning.start is None else f"[{clock(warning.start)}] "
                whose = f"{one_line(labels[warning.channel])}: " if warning.channel in labels else ""
                self._report(file, f"warning {warning.code}: {at}{whose}{warning.message}")

    def _report(self, file: Path, what: str) -> None:
        line = f"callscribe: {printable(str(file))}: {what}"
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    async def _transcribe(self, file: Path, bar: TaskID) -> Transcript:
        with tempfile.TemporaryDirectory(prefix="callscribe-") as folder:
            split = self.options.channels == "split"
            raw = raw_sound(self.options, file.name)
            audio = await decode(file, Path(folder), raw, split=split, max_seconds=self.max_seconds)
            transcript = await self.engine.transcribe(audio.channels, self.options, partial(self._show, bar))
            return with_losses(transcript, audio.announced_seconds, audio.losses)

    def _show(self, bar: TaskID, done: float) -> None:
        self.progress.update(bar, completed=done)
