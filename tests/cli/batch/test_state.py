"""The state of a batch: what a command that is killed leaves, and who may go on with it."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.batch.listing import Fingerprint
from app.cli.batch.state import About, Entry, Progress, State, Unusable

ABOUT = About("/calls", "json", {"channels": "split", "hotwords[]": ["Müller"]})
FILE = Fingerprint(1000, 17)


@contextmanager
def opened(path: Path, about: About = ABOUT) -> Iterator[State]:
    with closing(State(path, about)) as state:
        yield state


def entry(path: str, status: Progress = Progress.COMPLETED) -> Entry:
    return Entry(path, status, FILE.size, FILE.mtime_ns, id="7", output=f"{path}.json", duration=1.5)


def test_the_last_line_of_a_recording_counts_also_in_the_next_run(tmp_path: Path) -> None:
    odd = '电话\n\udcf1".wav' + "x" * 5000
    with opened(tmp_path / "state") as state:
        for status in Progress:
            state.write(entry(odd, status))
        assert state[odd] == entry(odd, Progress.FAILED)
        batch = state.batch
    with opened(tmp_path / "state") as state:
        assert (state.batch, list(state), state[odd]) == (batch, [odd], entry(odd, Progress.FAILED))
        assert state["other.wav"] is None


@pytest.mark.parametrize("torn", [b'{"path": "b.wav", "sta', b"\x00" * 40])
def test_a_line_that_was_not_written_to_its_end_is_removed(tmp_path: Path, torn: bytes) -> None:
    with opened(tmp_path / "state") as state:
        state.write(entry("a.wav"))
    whole = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(whole + torn)
    with opened(tmp_path / "state") as state:
        assert list(state) == ["a.wav"]
        state.write(entry("b.wav"))
    lines = (tmp_path / "state").read_bytes().splitlines()
    assert [json.loads(line)["path"] for line in lines[1:]] == ["a.wav", "b.wav"]


@pytest.mark.parametrize("line", [b"\x00\x00\n", b"[]\n", b'{"path": "b.wav", "status": "later"}\n', b'{"size": 1}\n'])
def test_a_line_that_means_nothing_is_passed_over(tmp_path: Path, line: bytes) -> None:
    with opened(tmp_path / "state") as state:
        state.write(entry("a.wav"))
    with (tmp_path / "state").open("ab") as file:
        file.write(line)
    with opened(tmp_path / "state") as state:
        state.write(entry("c.wav"))
        assert [state["a.wav"], state["c.wav"]] == [entry("a.wav"), entry("c.wav")]
        assert sorted(state) == ["a.wav", "c.wav"]


def test_a_command_that_was_killed_before_the_first_line_was_whole_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b'{"callscribe_ba')
    with opened(tmp_path / "state") as state:
        state.write(entry("a.wav"))
    with opened(tmp_path / "state") as state:
        assert list(state) == ["a.wav"]


def test_two_commands_cannot_have_one_state(tmp_path: Path) -> None:
    with opened(tmp_path / "state"), pytest.raises(Unusable, match="another callscribe batch is at work"):
        State(tmp_path / "state", ABOUT)
    with opened(tmp_path / "state") as state:
        assert list(state) == []


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        (replace(ABOUT, folder="/others"), "belongs to a batch of /calls"),
        (replace(ABOUT, format="srt"), r"has a batch with other options \(format=json channels=split"),
        (replace(ABOUT, options={}), "has a batch with other options"),
    ],
)
def test_another_batch_is_refused_once_there_are_recordings(tmp_path: Path, about: About, reason: str) -> None:
    with opened(tmp_path / "state") as state:
        state.write(entry("a.wav"))
    with pytest.raises(Unusable, match=reason):
        State(tmp_path / "state", about)


def test_a_batch_without_a_recording_may_begin_anew_with_other_options(tmp_path: Path) -> None:
    other = replace(ABOUT, options={"channels": "mix"})
    with opened(tmp_path / "state"):
        pass
    with opened(tmp_path / "state", other) as state:
        state.write(entry("a.wav"))
    with opened(tmp_path / "state", other) as state:
        assert list(state) == ["a.wav"]


def test_a_file_that_is_no_state_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("my notes\n")
    with pytest.raises(Unusable, match="is no state of a batch"):
        State(tmp_path / "state", ABOUT)
    assert (tmp_path / "state").read_text() == "my notes\n"


def test_a_file_has_the_same_idempotency_key_in_each_run_until_it_changes_or_is_tried_again(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        key = state.idempotency_key("电话.wav", FILE, 0)
    with opened(tmp_path / "state") as state, opened(tmp_path / "other") as other:
        assert state.idempotency_key("电话.wav", FILE, 0) == key
        others = {
            state.idempotency_key("a.wav", FILE, 0),
            state.idempotency_key("电话.wav", replace(FILE, mtime_ns=18), 0),
            state.idempotency_key("电话.wav", FILE, 1),
            other.idempotency_key("电话.wav", FILE, 0),
        }
    assert len(others - {key}) == 4
    assert key.isascii()
    assert len(key) <= 255
