"""Tracks that come in pieces: joined in time, put in order, and with silence where something is missing."""

import pytest

from app.audio.live_sound import Sound
from app.live.tracks import Tracks, interleaved

MULAW = Sound("mulaw", 8000, 2)
ONE = Sound("mulaw", 8000, 1)
PIECE = 160  # 20 ms


def piece(letter: str) -> bytes:
    return letter.encode() * PIECE


def both(left: bytes, right: bytes) -> bytes:
    return interleaved([left, right], 1)


def test_two_tracks_are_interleaved_as_far_as_both_are_there() -> None:
    tracks = Tracks(MULAW)
    tracks.add(0, piece("a"), 0.0)
    assert tracks.take() == b""
    tracks.add(1, piece("b"), 0.0)
    assert tracks.take() == both(piece("a"), piece("b"))
    assert tracks.take() == b""


def test_a_piece_that_comes_late_is_put_in_its_place() -> None:
    tracks = Tracks(ONE)
    tracks.add(0, piece("a"), 0.0)
    tracks.add(0, piece("c"), 0.04)
    tracks.add(0, piece("b"), 0.02)
    assert tracks.take() == piece("a") + piece("b") + piece("c")


def test_a_missing_piece_is_silence_when_the_others_have_waited_long_enough() -> None:
    tracks = Tracks(ONE)
    tracks.add(0, piece("a"), 0.0)
    tracks.add(0, piece("c"), 0.04)
    assert tracks.take() == piece("a")
    tracks.add(0, b"d" * 8000, 0.06)
    whole = piece("a") + tracks.take() + tracks.take(all_of_it=True)
    assert whole == piece("a") + b"\xff" * PIECE + piece("c") + b"d" * 8000


def test_a_piece_that_comes_after_its_time_was_taken_is_dropped() -> None:
    tracks = Tracks(ONE)
    tracks.add(0, b"d" * 16_000, 0.02)
    taken = tracks.take()
    tracks.add(0, piece("a"), 0.0)
    assert taken + tracks.take(all_of_it=True) == b"\xff" * PIECE + b"d" * 16_000


def test_a_track_that_is_silent_does_not_hold_the_other_one_back() -> None:
    tracks = Tracks(MULAW)
    tracks.add(0, b"a" * 16_000, None)
    assert tracks.take() == both(b"a" * 8000, b"\xff" * 8000)
    assert tracks.take(all_of_it=True) == both(b"a" * 8000, b"\xff" * 8000)


def test_pieces_without_times_follow_each_other() -> None:
    tracks = Tracks(ONE)
    tracks.add(0, piece("a"), None)
    tracks.add(0, piece("b"), None)
    assert tracks.take() == piece("a") + piece("b")


def test_a_track_that_begins_later_begins_where_the_other_one_is() -> None:
    tracks = Tracks(MULAW)
    tracks.add(0, b"a" * 4000, None)
    for _ in range(25):
        tracks.add(1, piece("b"), None)
    assert tracks.take(all_of_it=True) == both(b"a" * 4000 + b"\xff" * 4000, b"\xff" * 4000 + b"b" * 4000)


def test_a_track_that_goes_on_after_a_pause_goes_on_where_the_other_one_is() -> None:
    tracks = Tracks(MULAW)
    tracks.add(0, piece("a"), None)
    tracks.add(1, piece("b"), None)
    taken = tracks.take()
    tracks.add(0, b"a" * 16_000, None)
    taken += tracks.take()
    tracks.add(1, piece("b"), None)
    tracks.add(0, piece("a"), None)
    taken += tracks.take()
    taken += tracks.take(all_of_it=True)
    assert taken[1::2] == piece("b") + b"\xff" * 16_000 + piece("b")


@pytest.mark.parametrize("at", [61.0, 1e9, float("inf"), -1.0, float("nan")])
def test_a_time_that_cannot_be_right_counts_as_now(at: float) -> None:
    tracks = Tracks(ONE)
    tracks.add(0, piece("a"), None)
    tracks.add(0, piece("b"), at)
    assert tracks.take() == piece("a") + piece("b")


def test_samples_of_two_bytes_stay_whole() -> None:
    tracks = Tracks(Sound("pcm_s16le", 8000, 2))
    tracks.add(0, b"\x01\x02\x03\x04\x05", 0.0)
    tracks.add(1, b"\x11\x12\x13\x14", 0.0)
    assert tracks.take() == b"\x01\x02\x11\x12\x03\x04\x13\x14"
