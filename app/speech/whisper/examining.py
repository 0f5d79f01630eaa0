"""Reads a model's files and says whether they are what their publisher gave, without loading the model.

`weights` does the same where the service needs it, but repairs what it can. This module changes nothing.
"""

import hashlib
from pathlib import Path

from app.speech.model import OnDisk
from app.speech.whisper import hub, weights
from app.speech.whisper.hub import WEIGHTS, Repository
from app.speech.whisper.weights import BUNDLED, Bundle

POINTER = b"version https://git-lfs"  # what git leaves in the place of a large file that it has not fetched
BLOCK_BYTES = 1024 * 1024


def examine(name: str, models_dir: Path) -> OnDisk | None:
    """The files of a model that needs no download, or None."""
    if name in BUNDLED and (folders := weights.installed(BUNDLED[name])):
        return _bundled(name, BUNDLED[name], folders, models_dir)
    if local := weights.local_folder(name):
        return OnDisk(local, _size(local / WEIGHTS), damage=_fault(local))
    snapshot = hub.snapshot_of(Repository.named(name), models_dir)
    return None if snapshot is None else _downloaded(snapshot)


def _bundled(name: str, bundle: Bundle, folders: tuple[Path, ...], models_dir: Path) -> OnDisk:
    """The joined weights in `models_dir` if there are any, and otherwise the parts in the packages."""
    joined = models_dir / name
    parts = [folder / part for folder, part in zip(folders, bundle.parts, strict=True)]
    is_joined = len(parts) > 1 and (joined / WEIGHTS).is_file()
    files = [joined / WEIGHTS] if is_joined else parts
    damage = ""
    if _digest(files) != bundle.sha256:
        where = joined if is_joined else folders[0].parent
        damage = f"the weights in {where} are not their publisher's"
    size = sum(_size(file) for file in files)
    return OnDisk(files[0].parent, size, "the SHA-256 of their publisher", damage)


def _downloaded(snapshot: Path) -> OnDisk:
    changed = hub.changed(snapshot)
    size = _size(snapshot / WEIGHTS)
    if changed is None:
        return OnDisk(snapshot, size, damage=_fault(snapshot))
    damage = f"{', '.join(changed)} in {snapshot} changed after the download" if changed else ""
    return OnDisk(snapshot, size, "the SHA-256 at the download", damage)


def _fault(folder: Path) -> str:
    try:
        with (folder / WEIGHTS).open("rb") as file:
            return f"{WEIGHTS} in {folder} is only a pointer of git-lfs" if file.read(len(POINTER)) == POINTER else ""
    except OSError as error:
        return f"{folder / WEIGHTS} cannot be read: {error.strerror}"


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _digest(files: list[Path]) -> str | None:
    """The SHA-256 of the files when they are joined. None if one cannot be read."""
    digest = hashlib.sha256()
    try:
        for file in files:
            with file.open("rb") as content:
                while block := content.read(BLOCK_BYTES):
                    digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()
