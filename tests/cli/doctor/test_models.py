"""`callscribe doctor` on models that are damaged, missing or slow, and on GPUs, as far as that goes without one."""

import json
from pathlib import Path

import pytest

from app.audio.decode import decode
from app.audio.known_speech import SPEECH, SPEECH_SECONDS
from app.cli.doctor import memory, models
from app.cli.doctor.findings import Finding
from app.cli.doctor.surroundings import Surroundings
from app.settings import Settings
from app.speech import gpu
from app.speech.gpu import Gpu
from app.speech.model import OnDisk
from app.speech.whisper import hub
from testing.origin import answering
from tests.cli.doctor.conftest import Diagnosis

ROOT = Path(__file__).parents[3]
MEASURED = {
    "device": "cuda",
    "compute_type": "float16",
    "threads": 1,
    "batch_size": 16,
    "load_seconds": 2.0,
    "audio_seconds": 10.0,
    "seconds": 0.1,
    "text": " ".join(models.SAID.split()),
    "memory_mib": 900,
    "gpu_mib": 700,
}


def judged(**changes: object) -> Finding:
    return models._judged("base", 0, json.dumps({**MEASURED, **changes}).encode(), b"")


async def test_the_recording_is_a_part_of_the_sample_call(tmp_path: Path) -> None:
    audio = await decode(SPEECH, tmp_path, split=False, max_seconds=60)
    assert audio.duration_seconds == SPEECH_SECONDS
    sample = (ROOT / "samples" / "sample_call.wav").read_bytes()
    agent = sample[sample.index(b"data") + 8 :][::2]
    sound = SPEECH.read_bytes()[-int(SPEECH_SECONDS * 8000) :]
    assert all(part in agent for part in (sound[:40_000], sound[-39_000:]))


async def test_weights_with_a_wrong_hash(diagnosed: Diagnosis, folder: Path) -> None:
    [fine] = await diagnosed("model")
    assert (fine.status, fine.about) == ("ok", "base")
    assert "the SHA-256 of their publisher" in fine.text
    joined = folder / "models" / "base"
    joined.mkdir(parents=True)
    (joined / "model.bin").write_bytes(b"not a model")
    [finding] = await diagnosed("model")
    assert (finding.status, finding.text) == ("failed", f"the weights in {joined} are not their publisher's")
    assert finding.advice.startswith(f"Delete {joined}")


async def test_a_downloaded_model_that_changed(
    diagnosed: Diagnosis, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = folder / "models" / "snapshot"
    snapshot.mkdir(parents=True)
    (snapshot / "model.bin").write_bytes(b"weights")
    hub._record(hub.Repository("Systran/faster-whisper-small"), snapshot)
    monkeypatch.setattr(hub, "_download", lambda *_, **__: snapshot)
    [fine] = await diagnosed("model", MODEL="small")
    assert fine.status == "ok"
    (snapshot / "model.bin").write_bytes(b"wEights")
    [finding] = await diagnosed("model")
    assert finding.text == f"model.bin in {snapshot} changed after the download"
    assert finding.advice.startswith("Fetch it again: callscribe models fetch small")


async def test_a_model_that_git_did_not_fetch(diagnosed: Diagnosis, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    [finding] = await diagnosed("model", MODEL=str(tmp_path / "mine"))
    assert finding.status == "failed"
    assert "is only a pointer of git-lfs" in finding.text


async def test_a_model_that_is_not_on_the_machine(diagnosed: Diagnosis) -> None:
    [finding] = await diagnosed("model", MODEL="large-v3")
    assert finding.status == "warning"
    assert finding.advice.endswith("callscribe models fetch large-v3")


async def test_a_name_that_is_no_model(diagnosed: Diagnosis) -> None:
    [finding] = await diagnosed("model", MODEL="larg-v3")
    assert finding.status == "failed"
    assert "'larg-v3' is no model" in finding.text


async def test_a_model_that_needs_more_memory_than_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is not loaded, because the service beside it would lose its memory."""
    (tmp_path / "meminfo").write_text("MemAvailable:     1000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    at = Surroundings(Settings(), [], models={"base": OnDisk(tmp_path, 150 * 2**20)})
    [finding] = await models.speech(at)
    assert finding.status == "warning"
    assert "1000.0 KiB of memory are free" in finding.text


async def test_a_process_that_cannot_load_its_model_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.bin").write_bytes(b"no weights")
    name = str(tmp_path / "mine")
    at = Surroundings(Settings(model=(name,), data_dir=tmp_path), [], models={name: OnDisk(tmp_path / "mine", 10)})
    [finding] = await models.speech(at)
    assert finding.status == "failed"
    assert finding.about == name


def test_a_process_that_was_killed() -> None:
    finding = models._judged("base", -9, b"", b"")
    assert (finding.status, finding.text) == ("failed", "its process was ended by SIGKILL")
    assert finding.advice == "It may need more memory than there is."


def test_speed_and_text_are_judged() -> None:
    fine = judged()
    assert fine.status == "ok"
    assert "100.0 times real time" in fine.text
    assert "700 MiB of the GPU" in fine.text
    assert fine.facts["realtime_factor"] == 100
    slow = judged(seconds=20.0)
    assert slow.status == "warning"
    assert "Calls come in faster" in slow.text
    wrong = judged(text="thank thank thank")
    assert wrong.status == "warning"
    assert "of the words" in wrong.text
    assert judged(lack="the GPU has only 100 MiB free").status == "warning"


class FakeDriver:
    """NVIDIA's driver on a machine with one GPU, because no test machine has one."""

    cuda_version = (12, 8)

    def gpus(self) -> list[Gpu]:
        return [Gpu(0, "NVIDIA L4", 23_034, "8.9")]


async def test_a_gpu_that_cannot_be_used(diagnosed: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver sees it, but the libraries of CTranslate2 do not."""
    monkeypatch.setattr(models, "Driver", FakeDriver)
    shown, lack = await diagnosed("gpu")
    assert (shown.status, shown.about) == ("ok", "0")
    assert shown.text == "NVIDIA L4, 22.5 GiB, compute capability 8.9, driver for CUDA 12.8"
    assert (lack.status, lack.text.partition(":")[0]) == ("warning", "No model can run on cuda")
    monkeypatch.setattr(FakeDriver, "cuda_version", (11, 8))
    _, old = await diagnosed("gpu", DEVICE="cuda")
    assert (old.status, old.text) == ("failed", "the driver is for CUDA 11.8")


async def test_a_machine_without_a_driver(diagnosed: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DRIVER", "libcuda.so.0")
    [fine] = await diagnosed("gpu")
    assert fine.status == "ok"
    [finding] = await diagnosed("gpu", DEVICE="cuda")
    assert finding.status == "failed"


def test_the_driver_s_version_is_what_the_kernel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(gpu, "VERSION", tmp_path / "version")
    assert gpu.driver_version() == "570.86.15"
    monkeypatch.setattr(gpu, "VERSION", tmp_path / "none")
    assert gpu.driver_version() is None


async def test_a_model_of_another_server_is_tried(diagnosed: Diagnosis) -> None:
    with answering() as origin:
        origin.answers["/v1/audio/transcriptions"] = lambda exchange: exchange.whole(b'{"text": "Thank you."}')
        models, keys = f"far={origin.url('/v1')}#base", "far:geheim"
        [fine] = await diagnosed("model", MODEL=models, REMOTE_KEYS=keys)
        assert (fine.status, fine.about) == ("ok", "far")
        origin.answers["/v1/audio/transcriptions"] = lambda exchange: exchange.whole(b"geheim", 401)
        [finding] = await diagnosed("model", MODEL=models, REMOTE_KEYS=keys)
    assert finding.status == "failed"
    assert "answered 401" in finding.text
    assert "geheim" not in finding.text + finding.advice
