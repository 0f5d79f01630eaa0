"""Models from the hub, which is played by a real HTTP server with the same API."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from app.speech.model import ModelUnavailable
from app.speech.whisper import hub
from app.speech.whisper.hub import Pin
from app.speech.whisper.languages import languages
from app.speech.whisper.weights import fetch, locate, require_known
from testing.service import callscribe

NAME = "Systran/faster-whisper-tiny"
OLD, NEW = "a" * 40, "b" * 40
OLD_FILES = {"model.bin": b"old weights", "config.json": b"{}", "vocabulary.txt": b"a\nb\n"}
NEW_FILES = {"model.bin": b"new weights", "config.json": b'{"a": 1}', "vocabulary.txt": b"a\nb\n"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Hub:
    """The server: it lists `commits`, of which `main` is the newest, and `sent` replaces the content of files."""

    url: str
    main: str = OLD
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {OLD: OLD_FILES, NEW: NEW_FILES})
    sent: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def about(self, revision: str) -> dict[str, Any]:
        commit = self.main if revision == "main" else revision
        files = self.commits[commit]
        siblings = [
            {"rfilename": name, "size": len(content), "blobId": git_digest(content)}
            | ({"lfs": {"sha256": sha256(content), "size": len(content), "pointerSize": 1}} if ".bin" in name else {})
            for name, content in files.items()
        ]
        return {"_id": "1", "id": NAME, "modelId": NAME, "sha": commit, "siblings": siblings, "tags": []}


@contextmanager
def serving() -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            server.asked.append(path)
            if NAME not in path:
                self.give(b"", {"X-Error-Code": "RepoNotFound"}, 401)
                return
            if "/tree/" in path:
                tree = [
                    {"type": "file", "path": each["rfilename"], "size": each["size"], "oid": each["blobId"]}
                    | ({"lfs": {**each["lfs"], "oid": each["lfs"]["sha256"]}} if "lfs" in each else {})
                    for each in server.about(path.partition("/tree/")[2])["siblings"]
                ]
                self.give(json.dumps(tree).encode(), {"Content-Type": "application/json"})
                return
            if path.startswith("/api/models/"):
                revision = path.partition("/revision/")[2] or "main"
                self.give(json.dumps(server.about(revision)).encode(), {"Content-Type": "application/json"})
                return
            commit, _, name = path.partition("/resolve/")[2].partition("/")
            content = server.commits.get(commit, {}).get(name)
            if content is None:
                self.give(b"", {"X-Error-Code": "EntryNotFound"}, 404)
                return
            etag = sha256(content) if ".bin" in name else git_digest(content)
            self.give(server.sent.get(name, content), {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

        def give(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
            self.send_response(status)
            for header, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        server = Hub(f"http://127.0.0.1:{listener.server_port}")
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the hub's client to this URL. It has read its environment already, so its constants are changed."""
    files = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub without pinned commits."""
    with serving() as server:
        point_to(server.url, monkeypatch)
        monkeypatch.setattr(hub, "PINS", {})
        yield server


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != hub.RECORD}


def test_a_fetched_model_is_recorded_and_kept_when_the_hub_has_a_newer_commit(hub_server: Hub, tmp_path: Path) -> None:
    folder = fetch("tiny", tmp_path)
    record = json.loads((folder / hub.RECORD).read_text())
    assert files(folder) == OLD_FILES
    assert (record["repository"], record["commit"]) == (NAME, OLD)
    assert record["files"]["model.bin"]["sha256"] == sha256(OLD_FILES["model.bin"])
    assert all("/resolve/main/" not in path for path in hub_server.asked)
    assert hub.downloaded(tmp_path) == ["tiny"]

    hub_server.main, hub_server.asked = NEW, []
    assert fetch(NAME, tmp_path) == folder
    assert hub_server.asked == []


@pytest.mark.parametrize("name", [f"tiny@{NEW}", f"{NAME}@{NEW}"])
def test_a_commit_may_be_named(hub_server: Hub, tmp_path: Path, name: str) -> None:
    require_known(name)
    assert files(fetch(name, tmp_path)) == NEW_FILES
    assert files(fetch("tiny", tmp_path)) == OLD_FILES
    assert locate(name, tmp_path) != locate("tiny", tmp_path)


@pytest.mark.parametrize("name", ["tiny@", "tiny@a/b", "@" + OLD, "no-such-size@main"])
def test_an_invalid_revision_is_refused(name: str) -> None:
    with pytest.raises(ModelUnavailable):
        require_known(name)


def test_the_pinned_commit_is_fetched_even_if_a_newer_one_exists(
    hub_server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PINS", {NAME: Pin(OLD, sha256(OLD_FILES["model.bin"]))})
    hub_server.main = NEW
    assert files(fetch("tiny", tmp_path)) == OLD_FILES


@pytest.mark.parametrize("name", ["model.bin", "config.json"])
def test_a_file_that_was_damaged_during_the_download_is_refused(hub_server: Hub, tmp_path: Path, name: str) -> None:
    hub_server.sent[name] = bytes(len(OLD_FILES[name]))
    with pytest.raises(ModelUnavailable, match=name):
        fetch("tiny", tmp_path)
    assert locate("tiny", tmp_path) is None
    hub_server.sent.clear()
    assert files(fetch("tiny", tmp_path)) == OLD_FILES


def test_a_pinned_commit_that_the_hub_has_changed_is_refused(
    hub_server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PINS", {NAME: Pin(OLD, sha256(OLD_FILES["model.bin"]))})
    hub_server.commits[OLD] = NEW_FILES
    with pytest.raises(ModelUnavailable, match=r"model\.bin is not the one of commit"):
        fetch("tiny", tmp_path)
    assert locate("tiny", tmp_path) is None


def test_an_answer_for_another_commit_is_refused(
    hub_server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PINS", {NAME: Pin(OLD)})
    about = hub_server.about
    monkeypatch.setattr(hub_server, "about", lambda revision: about(revision) | {"sha": NEW})
    with pytest.raises(ModelUnavailable, match="for the commit"):
        fetch("tiny", tmp_path)


@pytest.mark.parametrize("damaged", [b"old weight5", b"cut"])
def test_files_that_changed_on_disk_are_fetched_again(hub_server: Hub, tmp_path: Path, damaged: bytes) -> None:
    weights = fetch("tiny", tmp_path) / "model.bin"
    weights.write_bytes(damaged)
    assert locate("tiny", tmp_path) is None
    assert files(fetch("tiny", tmp_path)) == OLD_FILES
    os.utime(weights, (1, 1))  # a copy changes only the time of a file
    assert locate("tiny", tmp_path) is not None


def test_an_unreachable_hub_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(ModelUnavailable, match="the hub cannot be reached from this machine"):
        fetch("tiny", tmp_path)


@pytest.mark.parametrize("name", ["nobody/nothing", "nobody/nothing@v1"])
def test_a_name_that_the_hub_does_not_have_is_reported(hub_server: Hub, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelUnavailable, match="the hub has no model of this name"):
        fetch(name, tmp_path)


def test_a_misspelt_size_is_refused_without_asking_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="'smal' is no model"):
        fetch("smal", tmp_path)


def test_the_command_reports_a_damaged_file_in_one_text_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.sent["model.bin"] = b"OLD WEIGHTS"
        refused = callscribe("models", "fetch", f"{NAME}@{OLD}", folder=tmp_path)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert "model.bin is not what the hub says it is" in refused.stderr
        server.sent.clear()
        fetched = callscribe("models", "fetch", f"{NAME}@{OLD}", folder=tmp_path)
    assert files(Path(fetched.stdout.strip())) == OLD_FILES


def test_the_revision_of_a_model_does_not_change_its_languages() -> None:
    assert languages(f"Systran/faster-whisper-small.en@{OLD}") == ("en",)
