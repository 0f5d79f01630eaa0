"""Finds cuBLAS for CTranslate2, whose wheel opens `libcublas.so.12` by that name.

CUDA 13 has only `libcublas.so.13`. It has all eight functions that CTranslate2 calls, so a link with the expected name
may serve. Whether it does is seen only when a model runs, so there may be several candidates, to be tried in turn.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.speech.whisper.device import CUBLAS

TWELVE, THIRTEEN = CUBLAS, "libcublas.so.13"
PLACES = (
    "/usr/local/cuda*/lib64",
    "/usr/local/cuda*/targets/*/lib",
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/opt/cublas",
)
IN_PACKAGES = "nvidia/*/lib"  # the folders of NVIDIA's wheels, which PyTorch uses too

PACKAGES = "CUBLAS_PACKAGES"  # more folders of packages, which run.sh sets


@dataclass(frozen=True)
class Cublas:
    """A library that may serve as cuBLAS 12. `path` is None if the system finds it by itself."""

    title: str
    path: Path | None

    def library_path(self, folder: Path) -> str:
        """LD_LIBRARY_PATH for a process that shall use this library. Links are made in the empty `folder`."""
        inherited = os.environ.get("LD_LIBRARY_PATH", "")
        if self.path is None:
            return inherited
        (folder / CUBLAS).symlink_to(self.path)
        for helper in self.path.parent.glob("libcublasLt.so.*"):
            (folder / helper.name).symlink_to(helper)
        return ":".join(each for each in (str(folder), str(self.path.parent), inherited) if each)


def candidates(packages: Sequence[str] | None = None) -> list[Cublas]:
    """What may serve, in the order to try: what the system finds, cuBLAS 13 by another name, any other cuBLAS 12."""
    if packages is None:
        packages = [*sys.path, *os.environ.get(PACKAGES, "").split(":")]
    found = list(dict.fromkeys(path.resolve() for path in _files(packages)))
    twelve = [Cublas(f"{path}", path) for path in found if path.name.startswith(TWELVE)]
    thirteen = [Cublas(f"{path} under the name {CUBLAS}", path) for path in found if path.name.startswith(THIRTEEN)]
    return [*([Cublas(CUBLAS, None)] if _system_finds(CUBLAS) else []), *thirteen, *twelve]


def _files(packages: Sequence[str]) -> Iterator[Path]:
    listed = (Path(each) for each in os.environ.get("LD_LIBRARY_PATH", "").split(":") if each)
    fixed = (folder for place in PLACES for folder in Path("/").glob(place.lstrip("/")))
    wheels = (folder for package in packages if package for folder in Path(package).glob(IN_PACKAGES))
    for folder in (*listed, *fixed, *wheels, *_cached_folders()):
        for name in (TWELVE, THIRTEEN):
            if (folder / name).is_file():
                yield folder / name


def _cached_folders() -> Iterator[Path]:
    """The folders with a cuBLAS that the system's loader knows."""
    try:
        listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return
    for path in re.findall(r"libcublas\.so\.\d+ .*=> (\S+)", listed):
        yield Path(path).parent


def _system_finds(library: str) -> bool:
    """Asks a new process, so that this one does not keep the library."""
    code = f"import ctypes; ctypes.CDLL({library!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
