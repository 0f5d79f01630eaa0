"""The channel that writes transcripts as files below folders that the operator has named."""

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from uuid import uuid4, uuid5

from app.deliveries.channels import ATTEMPT_SECONDS, Outgoing, Reply, Result, Stopwatch
from app.deliveries.s3 import TRANSCRIPT_GONE, Render
from app.process.folders import sync_folder
from app.process.threads import BoundedThreads
from app.storage.file_url import path_of

THREADS = 4
READ_AND_WRITE = 0o666
OUTSIDE = "folder_not_allowed"


class FolderChannel:
    """Writes below `folders` only. They must exist, because one that is missing may be a disk that is not mounted."""

    def __init__(self, render: Render, folders: Sequence[Path], attempt_seconds: float = ATTEMPT_SECONDS) -> None:
        self._render = render
        self._folders = [folder.resolve() for folder in folders]
        self._seconds = attempt_seconds
        self._threads = BoundedThreads("output-folder", THREADS)

    async def send(self, delivery: Outgoing) -> Reply:
        """Write the file, whole or not at all. A file of the same name is replaced.

        The error of the reply is `timeout`, `transcript_gone`, `folder_not_allowed`, or what the disk said.
        """
        assert delivery.format is not None
        attempt, result, error = Stopwatch(), Result.TRY_AGAIN, None
        path, mark = path_of(delivery.url), uuid5(delivery.event_id, delivery.url).hex
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._render(delivery.transcription_id, delivery.format)
            folder = next((folder for folder in self._folders if path.is_relative_to(folder)), None)
            if body is None:
                result, error = Result.REFUSED, TRANSCRIPT_GONE
            elif folder is None:
                error = OUTSIDE
            else:
                left = self._seconds - attempt.seconds
                await self._threads.run(partial(_write, folder, path, mark, body), max(0.1, left))
                result = Result.DELIVERED
        except TimeoutError:
            error = "timeout"
        except OSError as trouble:
            error = trouble.strerror or type(trouble).__name__
        return attempt.reply(result, error=error)


def _write(root: Path, path: Path, mark: str, body: bytes) -> None:
    """Write beside the file and rename. Who may read the folder may read the file. Raises OSError.

    Hidden files with the same `mark` are of earlier attempts. They are removed, so that an attempt that hangs cannot
    rename a file that this one still writes.
    """
    _make_folders(root, path.parent)
    if not path.parent.resolve().is_relative_to(root):
        raise PermissionError(0, "a link leads out of the folder")
    for left in path.parent.glob(f".{mark}.*.part"):
        left.unlink(missing_ok=True)
    incoming = path.parent / f".{mark}.{uuid4().hex}.part"
    with incoming.open("xb") as file:
        os.fchmod(file.fileno(), path.parent.stat().st_mode & READ_AND_WRITE)
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    incoming.rename(path)
    sync_folder(path.parent)


def _make_folders(root: Path, folder: Path) -> None:
    """Make the folders between `root` and `folder`, with the rights of `root`. Raises OSError, also for links."""
    if folder == root:
        folder.stat()
        return
    _make_folders(root, folder.parent)
    try:
        folder.mkdir()
        folder.chmod(root.stat().st_mode & 0o7777)
    except FileExistsError:
        if folder.is_symlink():
            raise PermissionError(0, "a link leads out of the folder") from None
