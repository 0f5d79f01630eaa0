"""Checks of the disk: the data folder, free space, and the folder for decoded audio."""

import asyncio
import os
import pwd
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from app import wording
from app.cli.doctor.findings import Finding, failed, fine, warning
from app.cli.doctor.surroundings import Surroundings
from app.storage.disk import is_disk_full
from app.storage.store import StoreUnavailable
from app.storage.workspace import Workspace

PLENTY = 2  # times the space that must stay free
FEW_FILES = 1_000
MAKE_ROOM = "Make room on this disk, or move the folder to a larger one."


async def data_folder(at: Surroundings) -> Finding:
    return await asyncio.to_thread(_data_folder, at.settings.data_dir)


def _data_folder(folder: Path) -> Finding:
    """Makes the folder if it is missing, as the service does when it starts."""
    is_new = not folder.exists()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (user := _other_user(folder)) is not None:
            return failed(
                f"{folder} belongs to the user {user}, but this command runs as root. It would leave files there that "
                "the service may not use",
                f"Run it as the service's user: sudo -u {user} … callscribe doctor",
            )
        (folder / "models").mkdir(exist_ok=True)
        try_out(folder)
    except OSError as error:
        return failed(f"{error.filename or folder}: {wording.of_disk(error)}", _advice(error))
    if is_new:
        return warning(
            f"{folder} did not exist, so this command has made it",
            "If the service has run before, it uses another folder: set CALLSCRIBE_DATA_DIR as for the service.",
        )
    return fine(f"{folder} can be written")


def try_out(folder: Path) -> None:
    """Write, sync, read and remove a file. Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".callscribe-doctor-") as file:
        file.write(b"callscribe")
        file.flush()
        os.fsync(file.fileno())
        if Path(file.name).read_bytes() != b"callscribe":
            raise OSError(f"{folder} does not hold what was written to it")


def _advice(error: OSError) -> str:
    if is_disk_full(error):
        return MAKE_ROOM
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "Set CALLSCRIBE_DATA_DIR to a folder."
    return f"Let the user {_name(os.geteuid())} write there, or set CALLSCRIBE_DATA_DIR to another folder."


def _other_user(folder: Path) -> str | None:
    """Returns the service's user if this is root and the service is not.

    The service itself makes the folder `work`. If there is none yet, the owner of the data folder counts.
    """
    made = folder / "work"
    owner = (made if made.exists() else folder).stat().st_uid
    return _name(owner) if os.geteuid() == 0 != owner else None


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


async def free_disk(at: Surroundings) -> list[Finding]:
    least = int(at.settings.min_free_bytes)
    folders = {folder.stat().st_dev: folder for folder in reversed(at.settings.disks) if folder.exists()}
    return [_room(folder, least) for folder in reversed(folders.values())]


def _room(folder: Path, least: int) -> Finding:
    disk = os.statvfs(folder)
    free, files = disk.f_bavail * disk.f_frsize, disk.f_favail
    facts: dict[str, Any] = {"free_bytes": free, "total_bytes": disk.f_blocks * disk.f_frsize}
    shown = f"{folder} has {size(free)} free"
    if free < least:
        text = f"{shown}, less than CALLSCRIBE_MIN_FREE_BYTES ({size(least)}), so that recordings are refused"
        return failed(text, MAKE_ROOM, **facts)
    if disk.f_files and files < FEW_FILES:
        return failed(f"{folder} has room for {files} more files (inodes)", "Remove small files there.", **facts)
    if free < PLENTY * least:
        return warning(f"{shown}. With less than {size(least)}, recordings are refused", MAKE_ROOM, **facts)
    return fine(f"{shown} of {size(facts['total_bytes'])}", **facts)


def size(count: float) -> str:
    """Returns a number of bytes in words, such as 1.5 GiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


async def workspace(at: Surroundings) -> Finding:
    """Decoded audio is written there."""
    folder = at.settings.data_dir / "work"
    try:
        with closing(await asyncio.to_thread(Workspace, folder)) as opened:
            await opened.check()
    except TimeoutError:
        return failed(f"{folder}: no answer from its disk", "Look at the disk or the network mount.")
    except (StoreUnavailable, OSError) as error:
        text = str(error) if isinstance(error, StoreUnavailable) else f"{folder}: {wording.of_disk(error)}"
        return failed(text, MAKE_ROOM if is_disk_full(error.__cause__ or error) else _advice(error))
    return fine(f"{folder} can be written, synced and read")
