"""The docs stay true: everything that they name exists, and they name everything that they have to."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

from app import errors
from app.deliveries.notify_status import NotifyStatus
from app.errors import AppError
from app.intake.prober import MAX_PENDING_PROBES
from app.jobs.lifecycle import Status
from app.settings import PREFIX, Settings, load_settings
from app.transcripts.formats import Format
from app.transcripts.transcript import WarningCode
from testing.ports import free_ports
from testing.service import PROGRAM, Service, serving

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
CLIENTS = (ROOT / "docs" / "clients.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def tree(error: type[AppError]) -> list[type[AppError]]:
    return [error, *(below for child in error.__subclasses__() for below in tree(child))]


CODES = sorted({error.code for error in tree(AppError) if hasattr(error, "code")})


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_in_the_readme(field: str) -> None:
    assert f"| `{PREFIX}{field.upper()}` |" in README


def test_the_readme_and_the_api_guide_name_only_settings_that_exist() -> None:
    named = set(re.findall(rf"{PREFIX}(\w+)", README + API))
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_the_readme_s_example_of_an_alias_is_taken_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    [row] = re.findall(rf"^\| `{PREFIX}MODEL_ALIASES` .*", README, re.MULTILINE)
    [example] = re.findall(r"`([\w-]+=base)`", row)
    monkeypatch.setenv(f"{PREFIX}MODEL_ALIASES", example)
    assert load_settings().model_aliases == {"whisper-large-v3": "base"}


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_is_in_the_api_guide_and_in_the_docstring_of_the_errors(code: str) -> None:
    assert f"| `{code}` |" in API
    assert errors.__doc__ is not None
    assert re.search(rf"\b{code}\b", errors.__doc__)


def test_the_api_guide_says_how_many_uploads_may_wait() -> None:
    assert f"{MAX_PENDING_PROBES} uploads to this process" in API


@pytest.mark.parametrize("code", WarningCode)
def test_every_warning_is_in_the_api_guide(code: WarningCode) -> None:
    assert f"| `{code}` |" in API


@pytest.mark.parametrize("word", [*Status, *NotifyStatus, *(f"| `{each}` |" for each in Format)])
def test_every_status_and_format_is_in_the_api_guide(word: str) -> None:
    assert word.strip("|` ") in API


def test_the_map_of_the_code_names_exactly_the_modules_that_exist() -> None:
    [tree] = re.findall(r"```text\n(app/\n.*?)```", ARCHITECTURE, re.DOTALL)
    path, named = ["app"], set()
    for indent, name in re.findall(r"^((?:│   |    )*)[├└]── ([\w./]+)", tree, re.MULTILINE):
        path = [*path[: len(indent) // 4 + 1], name.rstrip("/")]
        named |= {"/".join(path)} if name.endswith(".py") else set()

    modules = {str(module.relative_to(ROOT)) for module in (ROOT / "app").rglob("*.py") if module.stem[0] != "_"}
    assert named == modules


@pytest.mark.parametrize("heading", ["openai (Python)", "LiteLLM", "LangChain"])
def test_a_recipe_imports_only_what_its_page_installs(heading: str) -> None:
    [section] = re.findall(rf"^## {re.escape(heading)}\n(.*?)^## ", CLIENTS, re.DOTALL | re.MULTILINE)
    [installed] = re.findall(r"^pip install (.*)", section, re.MULTILINE)
    imported = set(re.findall(r"^(?:import|from) (\w+)", section, re.MULTILINE))
    assert imported
    assert imported <= set(installed.replace("-", "_").split()) | sys.stdlib_module_names


def test_links_between_documents_lead_to_files_that_exist() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "samples").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_links_to_headings_lead_to_headings_that_exist() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    headings = {document.name: _anchors(document.read_text()) for document in documents}
    for document in documents:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", document.read_text()):
            name = Path(target).name or document.name
            assert anchor in headings[name], f"{document.name}: {target}#{anchor}"


def _anchors(text: str) -> set[str]:
    """The anchors that a page gives to its headings: small letters, hyphens for spaces, and no other marks."""
    headings = re.findall(r"^#+ (.+)", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_commands_print_the_transcript_that_the_readme_shows(service: Service, tmp_path: Path) -> None:
    [commands] = re.findall(r"```sh\n(# Post a stereo call.*?)```", README, re.DOTALL)
    script = commands.replace("http://127.0.0.1:8000", service.url).replace("samples/", f"{ROOT}/samples/")
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    [promised] = re.findall(r"```text\n(\[00:00\].*?)\n…", README, re.DOTALL)
    assert _words(promised) in _words(done.stdout)


@pytest.mark.slow
def test_the_readme_commands_fetch_a_url_and_receive_the_webhook(tmp_path: Path) -> None:
    [commands] = re.findall(r"```sh\n(# A server for the sample call.*?)```", README, re.DOTALL)
    origin, receiver = free_ports(2)
    with serving(tmp_path / "service", ALLOWED_NETWORKS="127.0.0.0/8") as service:
        for written, here in {
            "http://127.0.0.1:8000": service.url,
            "8090": str(origin),
            "9000": str(receiver),
            "--directory samples": f"--directory {ROOT}/samples",
            ".venv/bin/callscribe webhooks": f"{sys.executable} -m app.cli webhooks",
        }.items():
            commands = commands.replace(written, here)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "CALLSCRIBE_DATA_DIR": str(service.folder)}
        done = subprocess.run(
            ["bash", "-euc", commands], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
        )
    assert "signature valid" in done.stdout
    assert '"type": "transcription.completed"' in done.stdout
    assert "order-47291" in done.stdout


def test_the_readme_commands_cancel_and_erase(guarded: Service) -> None:
    [commands] = re.findall(r"```sh\n(# Cancel a job.*?)```", README, re.DOTALL)
    commands = commands.replace("curl", f"curl -H 'Authorization: {guarded.client.headers['Authorization']}'")
    id_ = guarded.create()["id"]
    script = f"ID={id_}\n{commands.replace('http://127.0.0.1:8000', guarded.url)}"
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    assert '"status":"cancelled"' in done.stdout
    assert guarded.client.get(f"/v1/transcriptions/{id_}").status_code == 404


@pytest.mark.slow
def test_the_readme_commands_transcribe_without_a_server(tmp_path: Path) -> None:
    [commands] = re.findall(r"```sh\n(\.venv/bin/callscribe transcribe.*?)```", README, re.DOTALL)
    [endings] = re.findall(r"--format all +# (.*)", commands)
    script = commands.replace(".venv/bin/callscribe", f"{sys.executable} -m app.cli").replace(
        "samples/", f"{ROOT}/samples/"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euc", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert "agent: Thank you for calling" in done.stdout
    assert {path.name for path in (tmp_path / "transcripts").iterdir()} == {
        f"sample_call{ending}" for ending in endings.split()
    }
    assert done.stderr.endswith("callscribe: 1 skipped, because their transcripts exist\n")


def test_systemd_stops_only_the_service_itself_and_accepts_the_unit(tmp_path: Path) -> None:
    [unit] = re.findall(r"```ini\n(\[Unit\].*?)```", (ROOT / "docs" / "deploy.md").read_text(), re.DOTALL)
    parsed = ConfigParser(strict=False)
    parsed.read_string(unit)
    assert parsed["Service"]["KillMode"] == "mixed"
    program, *arguments = parsed["Service"]["ExecStart"].split()
    assert subprocess.run([*PROGRAM, *arguments, "--help"], capture_output=True, check=False).returncode == 0
    if analyze := shutil.which("systemd-analyze"):
        (tmp_path / "callscribe.service").write_text(unit.replace(program, sys.executable))
        checked = subprocess.run(
            [analyze, "verify", tmp_path / "callscribe.service"], capture_output=True, text=True, check=False
        )
        assert "callscribe.service:" not in checked.stderr


def _words(text: str) -> str:
    """The words without punctuation and case, because these differ between makes of processor."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def test_the_guides_for_contributors_name_only_files_that_exist() -> None:
    for guide in ("CONTRIBUTING.md", "SECURITY.md"):
        named = re.findall(r"`((?:app|tests|docs|scripts|alembic|testing)/[\w./-]*)`", (ROOT / guide).read_text())
        assert named
        assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_lists_of_layers_are_those_of_the_import_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        if contract["type"] == "layers":
            assert "\n".join(["```text", *contract["layers"], "```"]) in ARCHITECTURE


def test_the_map_describes_every_folder_of_the_app() -> None:
    rooms = {folder.name for folder in (ROOT / "app").iterdir() if folder.is_dir() and folder.name != "__pycache__"}
    described = set(re.findall(r"^\| `(\w+)/` \|", ARCHITECTURE, re.MULTILINE))
    assert described == rooms
