"""`callscribe doctor` on machines whose settings, disk, limits or decoder are not right."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.analysis import embedding
from app.audio.containment.report import Containment
from app.cli.doctor import decoding, memory, voices
from app.speech.speakers import networks
from app.speech.speakers.voices import VoiceModels
from testing.chat_server import Says, chat_serving
from testing.ports import free_ports
from testing.redis_server import redis_serving
from testing.rows import execute_at as execute
from testing.service import PROGRAM, environment
from tests.cli.doctor.conftest import Diagnosis

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


async def test_all_wrong_settings_are_findings(diagnosed: Diagnosis) -> None:
    found = await diagnosed("settings", MODEL_ALIASES="a=nothing", KEEP_AUDIO_DAYS="-1", DEVICE="gpu", MODLE="base")
    assert [finding.status for finding in found] == ["failed", "failed", "failed", "warning"]
    named = {finding.text.partition(":")[0] for finding in found[:3]}
    assert named == {"CALLSCRIBE_MODEL_ALIASES", "CALLSCRIBE_KEEP_AUDIO_DAYS", "CALLSCRIBE_DEVICE"}
    assert found[3].text == "CALLSCRIBE_MODLE is not a setting; did you mean CALLSCRIBE_MODEL?"


async def test_settings_are_shown_by_name_only(diagnosed: Diagnosis) -> None:
    [finding] = await diagnosed("settings", API_KEYS="crm:a-secret-key")
    assert finding.status == "ok"
    assert "CALLSCRIBE_API_KEYS" in finding.text
    assert "a-secret-key" not in finding.text


async def test_authentication_that_is_off(diagnosed: Diagnosis, address: str) -> None:
    [finding] = await diagnosed("keys", AUTH="off", DATABASE_URL=address)
    assert finding.status == "warning"


async def test_a_file_in_the_place_of_the_data_folder(diagnosed: Diagnosis, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [finding] = await diagnosed("data folder", DATA_DIR=str(tmp_path / "file"))
    assert finding.status == "failed"
    assert finding.text == f"{tmp_path / 'file'}: there is a file where a folder is needed"


@pytest.mark.skipif(sys.platform != "linux", reason="no user may write to /sys")
async def test_a_data_folder_that_may_not_be_written(diagnosed: Diagnosis) -> None:
    [finding] = await diagnosed("data folder", DATA_DIR="/sys/callscribe")
    assert finding.status == "failed"
    assert finding.text.startswith("/sys/callscribe: ")
    assert finding.advice.startswith("Let the user ")


@ROOT_ONLY
async def test_root_leaves_the_folder_of_another_user_alone(diagnosed: Diagnosis, folder: Path) -> None:
    os.chown(folder, 12345, 12345)
    [finding] = await diagnosed("data folder")
    assert finding.status == "failed"
    assert "belongs to the user 12345, but this command runs as root" in finding.text
    assert os.listdir(folder) == []  # noqa: PTH208  a path would block


async def test_a_new_data_folder_may_be_a_mistake(diagnosed: Diagnosis, tmp_path: Path) -> None:
    [finding] = await diagnosed("data folder", DATA_DIR=str(tmp_path / "new"))
    assert finding.status == "warning"
    assert "did not exist, so this command has made it" in finding.text


async def test_too_little_space(diagnosed: Diagnosis, folder: Path) -> None:
    [finding] = await diagnosed("free disk", MIN_FREE_BYTES="1000TB")
    assert finding.status == "failed"
    assert finding.text.startswith(f"{folder} has ")
    assert "less than CALLSCRIBE_MIN_FREE_BYTES" in finding.text


@pytest.fixture
def full_disk(folder: Path) -> Iterator[None]:
    """Puts a small disk in the place of the data folder, and fills it."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("this user may mount nothing here")
    (folder / "models").mkdir()
    with pytest.raises(OSError, match="No space left"):
        (folder / "filler").write_bytes(bytes(2**20))
    yield
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk(diagnosed: Diagnosis) -> None:
    [written] = await diagnosed("data folder")
    [space] = await diagnosed("free disk")
    [work] = await diagnosed("workspace")
    assert written.status == space.status == "failed"
    assert written.text.endswith(": No space left on device")
    assert written.advice == space.advice == "Make room on this disk, or move the folder to a larger one."
    assert work.status == "skipped"  # the same cause is not shown twice


def test_a_low_limit_of_open_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "doctor", "--only", "open files"],
        env=environment(tmp_path),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (600, 600)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "failed   open files: a process started here may open 600 files" in done.stdout
    assert "→ Raise it: `ulimit -Hn`" in done.stdout


async def test_a_decoder_that_cannot_start(diagnosed: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    [finding] = await diagnosed("decoder")
    assert finding.status == "failed"
    assert finding.text.startswith("a good recording cannot be decoded: ")
    [contained] = await diagnosed("sandbox")
    assert contained.status == "failed"


async def test_a_decoder_without_a_sandbox(diagnosed: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gaps() -> Containment:
        return Containment(True, 0, seccomp=False, possible=("open files", "use the network"))

    monkeypatch.setattr(decoding, "containment_report", gaps)
    [finding] = await diagnosed("sandbox")
    assert finding.status == "warning"
    assert finding.text == "a recording that takes the decoder over could open files, use the network"


async def test_redis_that_is_away(diagnosed: Diagnosis) -> None:
    [port] = free_ports(1)
    [finding] = await diagnosed("redis", REDIS_URL=f"redis://127.0.0.1:{port}/0")
    assert finding.text == f"127.0.0.1:{port}, database 0: it cannot be reached"
    assert finding.advice.startswith("Start Redis")


async def test_redis_that_refuses_the_password(diagnosed: Diagnosis) -> None:
    with redis_serving(password="right") as server:
        [fine] = await diagnosed("redis", REDIS_URL=server.url)
        [finding] = await diagnosed("redis", REDIS_URL=server.url.replace("right", "wrong"))
    assert fine.status == "ok"
    assert finding.status == "failed"
    assert finding.text.endswith("it refuses the user or the password")


async def test_a_language_model_that_answers_in_several_ways(diagnosed: Diagnosis) -> None:
    assert await diagnosed("language model") == []
    with chat_serving() as chat:
        settings = {"LLM_URL": chat.url, "LLM_MODEL": "m", "LLM_API_KEY": "a-secret-key"}
        chat.says(Says('{"ready": true}'))
        [fine] = await diagnosed("language model", **settings)
        chat.script = lambda asked: Says('{"ready": true}') if asked.form is None else Says(status=500)
        [weak] = await diagnosed("language model", **settings)
        chat.says(Says(status=401))
        [refused] = await diagnosed("language model", **settings)
    [away] = await diagnosed("language model", **settings)
    assert (fine.status, weak.status, refused.status, away.status) == ("ok", "warning", "failed", "failed")
    assert weak.text.endswith("only prompt_only")
    assert "CALLSCRIBE_LLM_API_KEY" in refused.text
    assert away.advice.startswith("Start the server")
    assert "a-secret-key" not in f"{fine}{weak}{refused}{away}"


async def test_a_watched_folder_with_options_that_are_not_allowed(diagnosed: Diagnosis, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    options = '{"webhook_url": "http://10.0.0.1/x"}'
    [finding] = await diagnosed("watched folder", WATCH=str(tmp_path / "in"), WATCH_OPTIONS=options)
    assert finding.status == "failed"
    assert finding.text.startswith("CALLSCRIBE_WATCH_OPTIONS: ")
    [fine] = await diagnosed("watched folder", WATCH_OPTIONS="{}")
    assert fine.status == "ok"


async def test_receivers_that_cannot_be_reached(diagnosed: Diagnosis) -> None:
    urls = "https://nowhere.invalid/hook,https://localhost/hook"
    missing, private = await diagnosed("network", WEBHOOK_URLS=urls)
    assert (missing.text, missing.status) == ("nowhere.invalid has no address", "failed")
    assert private.text.startswith("localhost may not be connected to: ")
    assert "CALLSCRIBE_ALLOWED_NETWORKS" in private.advice


async def test_a_proxy_that_the_service_does_not_use(diagnosed: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    [finding] = await diagnosed("network")
    assert finding.status == "warning"


@pytest.mark.parametrize(
    ("limit", "used", "cache", "available"), [("max", 1, 0, None), ("3000", 2000, 500, 1500), ("3000", 2000, 0, 1000)]
)
def test_the_memory_of_a_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, used: int, cache: int, available: int | None
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\nfile {cache}\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    assert memory.available_bytes() == available


async def test_voices_are_told_apart_if_their_models_are_installed(
    diagnosed: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    [installed] = await diagnosed("voices")
    assert (installed.status, installed.facts["installed"]) == ("ok", True)
    VoiceModels.load.cache_clear()
    monkeypatch.setattr(networks, "VOICE", replace(networks.VOICE, sha256="0" * 64))
    [damaged] = await diagnosed("voices")
    assert (damaged.status, damaged.advice) == ("failed", "run `make speakers` again")
    monkeypatch.setattr(voices, "installed", lambda: False)
    [missing] = await diagnosed("voices")
    assert (missing.status, missing.facts["installed"]) == ("ok", False)


async def test_meanings_need_the_extra_and_its_weights(diagnosed: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    [fine] = await diagnosed("meanings")
    assert fine.status == "ok"
    monkeypatch.setattr(embedding, "SHA256", "0" * 64)
    [wrong] = await diagnosed("meanings")
    assert (wrong.status, wrong.advice) == ("failed", embedding.INSTALL)
    monkeypatch.setattr(embedding, "LIBRARY", "no_such_library")
    assert await diagnosed("meanings") == []


async def test_a_category_by_meaning_needs_the_extra(
    diagnosed: Diagnosis, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "LIBRARY", "no_such_library")
    await execute(
        address,
        """INSERT INTO category VALUES ('acme', 'a', '{"any_of": ["Pay me back."], "by": "meaning"}', now())""",
    )
    [finding] = await diagnosed("meanings", DATABASE_URL=address)
    assert (finding.status, finding.advice) == ("failed", embedding.INSTALL)
    assert finding.text.startswith("1 category compares meanings")
