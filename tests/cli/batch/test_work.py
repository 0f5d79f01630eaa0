"""What becomes of recordings that change, vanish, or whose transcripts cannot be written."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from app.cli.batch.listing import Fingerprint
from app.cli.batch.patience import Patience
from app.cli.batch.server import Fields, Job, Refusal, Server, open_client
from app.cli.batch.state import About, Entry, Progress, State
from app.cli.batch.work import Work
from app.transcripts.formats import Format
from testing.recordings import tone
from testing.service import Service


@dataclass
class Meddler:
    """Changes the recording directly after each of its uploads, until there is nothing left to write."""

    contents: list[bytes] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)


class MeddledServer(Server):
    meddler: Meddler

    def post(self, recording: Path, expected: Fingerprint, name: str, fields: Fields, key: str) -> Job | Refusal:
        answer = super().post(recording, expected, name, fields, key)
        if isinstance(answer, dict):
            self.meddler.posted.append(answer["id"])
        if self.meddler.contents:
            recording.write_bytes(self.meddler.contents.pop())
        return answer


@pytest.fixture
def work(service: Service, tmp_path: Path) -> Iterator[Work]:
    for name in ("calls", "out"):
        (tmp_path / name).mkdir()
    with (
        closing(State(tmp_path / "state", About("calls", "json", {}))) as state,
        open_client(service.url, None, 2) as c,
    ):
        server = MeddledServer(c, Patience(list[str]().append))
        server.meddler = Meddler()
        yield Work(tmp_path / "calls", tmp_path / "out", Format.JSON, {}, server, state)


def result(work: Work, path: str) -> Entry:
    shown: list[Entry] = []
    work.run([path], 1, shown.append)
    [entry] = shown
    assert entry == work.state[path]
    return entry


def meddler_of(work: Work) -> Meddler:
    assert isinstance(work.server, MeddledServer)
    return work.server.meddler


def test_a_file_that_changes_during_its_upload_is_uploaded_again(work: Work, service: Service) -> None:
    (work.folder / "a.wav").write_bytes(tone())
    meddler = meddler_of(work)
    meddler.contents.append(tone(0.4))
    entry = result(work, "a.wav")
    first, second = meddler.posted
    assert (entry.status, entry.id, entry.sha256) == (Progress.COMPLETED, second, sha256(tone(0.4)).hexdigest())
    assert service.client.get(f"/v1/transcriptions/{first}").status_code == 404


def test_a_file_that_never_stays_the_same_fails(work: Work) -> None:
    (work.folder / "a.wav").write_bytes(tone())
    meddler_of(work).contents += [tone(seconds) for seconds in (0.3, 0.4, 0.5, 0.6)]
    entry = result(work, "a.wav")
    assert (entry.status, entry.code) == (Progress.FAILED, "file_changed")
    assert list(work.output_dir.iterdir()) == []


def test_a_file_that_vanished_fails_and_the_next_run_leaves_it_so(work: Work) -> None:
    entry = result(work, "gone.wav")
    assert (entry.status, entry.code) == (Progress.FAILED, "file_not_found")
    assert work.needed(["gone.wav"], retry_failed=False) == []
    assert work.needed(["gone.wav"], retry_failed=True) == ["gone.wav"]


def test_a_transcript_whose_name_is_taken_by_a_folder_fails_alone(work: Work) -> None:
    (work.folder / "a.wav").write_bytes(tone())
    (work.output_dir / "a.wav.json").mkdir()
    entry = result(work, "a.wav")
    assert (entry.status, entry.code) == (Progress.FAILED, "output_not_written")
    assert [path.name for path in work.output_dir.iterdir()] == ["a.wav.json"]


def test_a_job_that_the_server_lost_is_posted_again(work: Work) -> None:
    (work.folder / "a.wav").write_bytes(tone())
    found = Fingerprint.of((work.folder / "a.wav").stat())
    lost = "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"
    work.state.write(Entry("a.wav", Progress.POSTED, found.size, found.mtime_ns, id=lost))
    entry = result(work, "a.wav")
    assert (entry.status, meddler_of(work).posted) == (Progress.COMPLETED, [entry.id])
