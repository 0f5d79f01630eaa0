"""The proof of the path through a GPU, as far as it goes without one: on the processor, and its parts by themselves."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.speech import gpu
from app.speech.whisper import gpu_table
from app.speech.whisper.device import CUBLAS
from app.speech.whisper.gpu_table import row_for
from proofs.gpu import pack
from proofs.gpu.cublas import candidates
from proofs.gpu.decisions import Speed, best, refreshed
from proofs.gpu.machine import Missing, look
from proofs.gpu.pack import split
from proofs.gpu.plan import Plan
from proofs.gpu.runner import Runner
from testing.recordings import call

MEMORY_MIB = 80_000.0
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.slow
def test_all_steps_run_on_the_processor_and_are_kept(tmp_path: Path) -> None:
    recordings, output = tmp_path / "recordings", tmp_path / "output"
    recordings.mkdir()
    (recordings / "call.wav").write_bytes(call(17.8, 22.8))
    (recordings / "call.txt").write_text("Yes, of course. The order number is four seven two nine one.")
    command = [sys.executable, "-m", "proofs.gpu", "--device", "cpu", "--quick", "--sizes", "1", "2"]
    command += ["--recordings", str(recordings), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((output / "results.json").read_text())
    path, speed, batches, lack, latency, several = kept["steps"]
    [whole] = path["results"]
    assert "order number" in whole["text"]
    assert whole["encoded"].startswith("cpu float32 [1, ")
    assert whole["words"] == len(whole["text"].split())
    [engine] = speed["results"]
    assert engine["x"] > 1
    assert engine["WER"] < 0.5  # the model writes digits for spoken numbers
    assert engine["differs from CPU"] == 0
    assert [row["batch"] for row in batches["results"]] == [1, 2]
    assert latency["results"][0]["median s"] < 5
    assert "needs a GPU" in lack["skipped"]
    assert "two GPUs" in several["skipped"]
    assert "| batch | x |" in done.stdout


@pytest.mark.slow
def test_a_step_that_takes_too_long_is_ended_and_reported(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "output", seconds=60, facts={})
    plan = Plan(tmp_path, "base", "cpu")
    assert runner.run("path", "Too long", plan, limit=1) == []
    assert runner.failures == ["Too long: it took more than 1 s"]
    assert json.loads((tmp_path / "output" / "results.json").read_text())["steps"][0]["failed"]


def test_no_step_begins_without_time(tmp_path: Path) -> None:
    runner = Runner(tmp_path, seconds=0, facts={})
    runner.run("path", "Late", Plan(tmp_path, "base", "cpu"))
    assert runner.failures == ["Late: no time was left"]


def test_a_machine_without_the_driver_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DRIVER", "libcuda.so.0")
    with pytest.raises(Missing) as missing:
        look()
    assert str(missing.value) == "missing: NVIDIA's driver; libcuda.so.0 cannot be loaded"


@pytest.mark.skipif(sys.platform != "linux", reason="the loader of Linux is used")
@pytest.mark.parametrize("name", ["libcublas.so.13", "libcublas.so.12"])
def test_another_process_loads_a_cublas_of_a_wheel_by_the_name_that_is_expected(tmp_path: Path, name: str) -> None:
    wheel, links = tmp_path / "packages" / "nvidia" / "cu13" / "lib", tmp_path / "links"
    wheel.mkdir(parents=True)
    links.mkdir()
    shutil.copy(_any_library(), wheel / name)

    [found] = [each for each in candidates([str(tmp_path / "packages")]) if each.path == (wheel / name).resolve()]

    environment = {**os.environ, "LD_LIBRARY_PATH": found.library_path(links)}
    code = f"import ctypes; ctypes.CDLL({CUBLAS!r})"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ([(16, 1, 1000.0, 4e3), (32, 1, 1500.0, 8e3), (64, 1, 1520.0, 16e3)], (32, 1)),  # 64 is hardly faster
        ([(64, 1, 1500.0, 8e3), (64, 2, 1600.0, 8e3), (64, 3, 1610.0, 8e3)], (64, 2)),
        ([(32, 1, 1500.0, 8e3), (64, 1, 2500.0, 70e3)], (32, 1)),  # 64 leaves too little memory
        ([(64, 1, 1500.0, 70e3)], None),
        ([], None),
    ],
)
def test_the_smallest_way_that_is_about_as_fast_as_the_fastest_is_chosen(
    speeds: list[tuple[int, int, float, float]], chosen: tuple[int, int] | None
) -> None:
    found = best([Speed(*speed) for speed in speeds], MEMORY_MIB)
    assert (found and (found.batch_size, found.threads)) == chosen


def test_a_refreshed_table_changes_only_the_row_of_the_model_and_the_gpu() -> None:
    table = gpu_table.read()
    new = refreshed(table, 512, 79.1, Speed(48, 2, 1500.0, 8e3), {"gpu": "H100"})
    changed = [(old, row) for old, row in zip(table.rows, new.rows, strict=True) if old != row]
    old = row_for(table, 512, 79.1)
    assert changed == [(old, replace(old, batch_size=48, threads=2, measured={"gpu": "H100"}))]


def test_pieces_are_put_together_again_and_run(packed: Path) -> None:
    done = _run(packed)
    assert done.stderr == ""
    assert done.stdout == "proved with a package\n"
    assert _run(packed, "unpack").stdout == f"unpacked into {packed / 'unpacked'}\n"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda folder: (folder / "piece-001").unlink(), "missing: piece-001 of"),
        (lambda folder: (folder / "piece-001").write_bytes(b"x"), "a piece was damaged on its way: copy it again"),
    ],
    ids=["missing", "damaged"],
)
def test_a_fault_of_a_piece_is_reported(packed: Path, fault: object, message: str) -> None:
    assert callable(fault)
    fault(packed)
    done = _run(packed)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (packed / "unpacked").exists()


def test_another_python_than_the_packed_one_is_refused(packed: Path) -> None:
    script = packed / "run.sh"
    script.write_text(script.read_text().replace(PYTHON, "3.99"))
    done = _run(packed)
    assert done.returncode == 2
    assert done.stderr.startswith(f"missing: Python 3.99, for which this was packed; there is {PYTHON}.")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A pack of a small program that needs a package, in pieces of 200 bytes."""
    tree, into = tmp_path / "tree", tmp_path / "pack"
    program, site = tree / "proofs" / "gpu", tree / "site"
    program.mkdir(parents=True)
    site.mkdir()
    into.mkdir()
    (program / "__main__.py").write_text("import package\nprint('proved with', package.NAME)\n")
    (site / "package.py").write_text("NAME = 'a package'\n")
    (site / "noise").write_bytes(os.urandom(400))
    pieces = split(tree, into, 200)
    assert len(pieces) > 2
    assert all(piece.stat().st_size <= 200 for piece in pieces)
    pack.write_script(into, pieces, PYTHON, "base")
    return into


def _run(packed: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["sh", str(packed / "run.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _any_library() -> Path:
    """A shared library that a process can load; what it holds does not matter."""
    import _ctypes

    return Path(_ctypes.__file__)
