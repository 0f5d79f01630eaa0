"""Fetches models from the hub by commit, compares each file with what was published, and checks them at each start.

A name on the hub means whatever its owner pushed last. So the commits and weights of the usual sizes are written here.
The commit of any other model is looked up once and kept. See docs/decisions/0023.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.process.package_files import sha256_of

WEIGHTS = "model.bin"
RECORD = "callscribe.json"


class NotAsPublished(Exception):
    """A file differs from what the hub or this module says about it. The message is on one line."""


@dataclass(frozen=True, slots=True)
class Pin:
    """The commit of a repository that this version was made for. `weights` is the SHA-256 of its weights, if known."""

    commit: str
    weights: str | None = None


PINS: Mapping[str, Pin] = MappingProxyType(
    {
        "Systran/faster-whisper-tiny": Pin(
            "d90ca5fe260221311c53c58e660288d3deb8d356",
            "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1",
        ),
        "Systran/faster-whisper-tiny.en": Pin(
            "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
        "Systran/faster-whisper-base": Pin(
            "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ),
        "Systran/faster-whisper-base.en": Pin("3d3d5dee26484f91867d81cb899cfcf72b96be6c"),
        "Systran/faster-whisper-small": Pin(
            "536b0662742c02347bc0e980a01041f333bce120",
            "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671",
        ),
        "Systran/faster-whisper-small.en": Pin("d1d751a5f8271d482d14ca55d9e2deeebbae577f"),
        "Systran/faster-whisper-medium": Pin(
            "08e178d48790749d25932bbc082711ddcfdfbc4f",
            "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae",
        ),
        "Systran/faster-whisper-medium.en": Pin("a29b04bd15381511a9af671baec01072039215e3"),
        "Systran/faster-whisper-large-v2": Pin("f0fe81560cb8b68660e564f55dd99207059c092e"),
        "Systran/faster-whisper-large-v3": Pin(
            "edaa852ec7e145841d8ffdb056a99866b5f0a478",
            "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1",
        ),
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo": Pin(
            "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
            "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the hub, and a commit, branch or tag. None means the pinned commit, or the newest."""

    name: str
    revision: str | None = None

    @classmethod
    def named(cls, name: str) -> "Repository":
        """What `small` or `Systran/faster-whisper-small` means. Both may end in `@revision`."""
        from faster_whisper.utils import _MODELS  # slow to import, and only needed here

        short, _, revision = name.partition("@")
        return cls(_MODELS.get(short, short), revision or None)

    @property
    def wanted(self) -> str | None:
        return self.revision or (PINS[self.name].commit if self.name in PINS else None)


def on_disk(repository: Repository, models_dir: Path) -> Path | None:
    """The folder of a repository that was fetched before and has not changed, or None.

    Files that an operator put there are not checked.
    """
    revisions = [repository.wanted] if repository.revision else dict.fromkeys([repository.wanted, None])
    for revision in revisions:
        with suppress(Exception):  # the hub's client raises many kinds of error; each means that it is not on disk
            folder = _download(repository.name, models_dir, revision, offline=True)
            if (folder / WEIGHTS).is_file() and _is_as_recorded(folder):
                return folder
    return None


def snapshot_of(repository: Repository, models_dir: Path) -> Path | None:
    """The folder of a repository that was fetched before, whether or not it has changed, or None."""
    revisions = [repository.wanted] if repository.revision else dict.fromkeys([repository.wanted, None])
    for revision in revisions:
        with suppress(Exception):  # as in `on_disk`
            return _download(repository.name, models_dir, revision, offline=True)
    return None


def changed(snapshot: Path) -> list[str] | None:
    """The files that differ from what was recorded after the download. Reads all of them. None without a record."""
    try:
        files = json.loads((snapshot / RECORD).read_text())["files"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError):
        return [RECORD]
    return [name for name, facts in files.items() if not _has_digest(snapshot / name, facts["sha256"])]


def downloaded(models_dir: Path) -> list[str]:
    """The models of the hub in `models_dir`, by their size if it has one, and otherwise by their name on the hub."""
    folders = [folder for folder in models_dir.glob("models--*--*") if any(folder.glob(f"snapshots/*/{WEIGHTS}"))]
    if not folders:
        return []
    from faster_whisper.utils import _MODELS  # slow to import, and only needed here

    names = [folder.name.removeprefix("models--").replace("--", "/", 1) for folder in folders]
    return [found for name in names for found in [size for size, hub in _MODELS.items() if hub == name] or [name]]


def fetch(repository: Repository, models_dir: Path) -> Path:
    """Downloads a repository by its commit, and returns the folder. Raises any error of the hub's client.

    If a file is not as published, deletes the repository again and raises NotAsPublished.
    """
    from huggingface_hub import HfApi

    found = HfApi().model_info(repository.name, revision=repository.wanted, files_metadata=True)
    folder = _folder_of(repository.name, models_dir)
    if any(not _is_as_recorded(earlier) for earlier in folder.glob("snapshots/*")):
        shutil.rmtree(folder)  # because the hub's client never checks a file that it has written
    snapshot = _download(repository.name, models_dir, found.sha, offline=False)
    try:
        _require_as_published(repository, snapshot, found)
    except NotAsPublished:
        shutil.rmtree(folder)
        raise
    _record(repository, snapshot)
    if repository.wanted != found.sha:  # from now on the branch, the tag or an absent revision means this commit
        reference = folder / "refs" / (repository.wanted or "main")
        reference.parent.mkdir(exist_ok=True)
        reference.write_text(snapshot.name)
    return snapshot


def reason(error: Exception) -> str:
    """Why a download failed, as the end of a sentence."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    match error:
        case GatedRepoError():
            return "its owner gives it only to accounts that asked for it, so set HF_TOKEN"
        case RepositoryNotFoundError():
            return "the hub has no model of this name, or shows it only to an account (HF_TOKEN)"
        case RevisionNotFoundError():
            return "it has no such commit, branch or tag"
        case OSError() if error.errno == errno.ENOSPC:
            return "the disk is full"
        case _ if _is_of_the_network(error):
            return "the hub cannot be reached from this machine"
    return f"the hub's client failed with {type(error).__name__}"


def _is_of_the_network(error: Exception) -> bool:
    """Returns whether a connection failed. The hub's client changes its HTTP library, so only the name is certain."""
    return "TransportError" in {kind.__name__ for kind in type(error).__mro__} or isinstance(error, ConnectionError)


def _download(name: str, models_dir: Path, revision: str | None, *, offline: bool) -> Path:
    from faster_whisper.utils import download_model

    return Path(download_model(name, cache_dir=str(models_dir), local_files_only=offline, revision=revision))


def _folder_of(name: str, models_dir: Path) -> Path:
    """The folder in which the hub's client keeps a repository."""
    return models_dir / f"models--{name.replace('/', '--')}"


def _require_as_published(repository: Repository, snapshot: Path, found: Any) -> None:
    """Compares large files with the SHA-256 that the hub gives, and small files with git's digest."""
    pin = PINS.get(repository.name)
    if repository.revision is None and pin is not None and found.sha != pin.commit:
        raise NotAsPublished(f"the hub gives {found.sha} for the commit {pin.commit}")
    published = {each.rfilename: each for each in found.siblings}
    for file in _files(snapshot):
        expected = published.get(file.name)
        if expected is None or not (expected.lfs or expected.blob_id):
            raise NotAsPublished(f"the hub says nothing of the file {file.name}")
        if sha256_of(file) != expected.lfs.sha256 if expected.lfs else _git_digest(file) != expected.blob_id:
            raise NotAsPublished(f"{file.name} is not what the hub says it is")
    if pin is not None and pin.weights and found.sha == pin.commit and sha256_of(snapshot / WEIGHTS) != pin.weights:
        raise NotAsPublished(f"{WEIGHTS} is not the one of commit {pin.commit}")


def _record(repository: Repository, snapshot: Path) -> None:
    files = {
        file.name: {"bytes": file.stat().st_size, "mtime_ns": file.stat().st_mtime_ns, "sha256": sha256_of(file)}
        for file in _files(snapshot)
    }
    building = snapshot / f".{RECORD}"
    building.write_text(json.dumps({"repository": repository.name, "commit": snapshot.name, "files": files}, indent=1))
    building.replace(snapshot / RECORD)


def _is_as_recorded(snapshot: Path) -> bool:
    """Whether the files are those that were recorded. A file is read only if its time changed."""
    try:
        files = json.loads((snapshot / RECORD).read_text())["files"]
    except FileNotFoundError:
        return True
    except (ValueError, KeyError):
        return False
    return all(_is_same(snapshot / name, facts) for name, facts in files.items())


def _is_same(file: Path, facts: Mapping[str, Any]) -> bool:
    try:
        seen = file.stat()
    except OSError:
        return False
    if seen.st_size != facts["bytes"]:
        return False
    return bool(seen.st_mtime_ns == facts["mtime_ns"] or sha256_of(file) == facts["sha256"])


def _has_digest(file: Path, digest: str) -> bool:
    try:
        return sha256_of(file) == digest
    except OSError:
        return False


def _files(snapshot: Path) -> list[Path]:
    return [file for file in snapshot.iterdir() if file.is_file() and not file.name.endswith(RECORD)]


def _git_digest(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
