"""Joins the tracks of a call, which come in pieces of their own, into one stream of interleaved samples. Pure.

Phone systems send each track by itself, sometimes late, in the wrong order or with gaps. A gap becomes silence, so that
both tracks stay at the same time.
"""

from collections.abc import Sequence

from app.audio.live_sound import SILENCE, Sound

LATEST_SECONDS = 1.0
"""How long one track waits for the other one, or for a piece that comes later than those after it."""
SAME_START_SECONDS = 0.2
"""Tracks without times begin at the same time if one is no further ahead of the other, or by no more than a piece."""
LONGEST_GAP_SECONDS = 60.0
"""A time further ahead than this is a mistake of the sender, and counts as now: a call without sound ends earlier."""


class _Track:
    """The samples of one track that are not taken yet. Positions are in samples from the start of the call."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []  # by position
        self.end = 0

    def add(self, at: int, raw: bytes, width: int) -> None:
        self.pieces.append((at, raw))
        self.pieces.sort(key=lambda piece: piece[0])
        self.end = max(self.end, at + len(raw) // width)

    def contiguous_until(self, taken: int, width: int) -> int:
        """Until where the samples after `taken` have no gap."""
        until = taken
        for at, raw in self.pieces:
            if at > until:
                break
            until = max(until, at + len(raw) // width)
        return until

    def take(self, taken: int, until: int, width: int, silence: bytes) -> bytes:
        """The samples between two positions, with silence where there are none."""
        line = bytearray(silence * (until - taken))
        left = []
        for at, raw in self.pieces:
            end = at + len(raw) // width
            first, last = max(at, taken), min(end, until)
            if first < last:
                line[(first - taken) * width : (last - taken) * width] = raw[(first - at) * width : (last - at) * width]
            if end > until:
                left.append((at, raw))
        self.pieces = left
        return bytes(line)


class Tracks:
    """The tracks of one call. `sound` says how they are interleaved, with one channel for each track."""

    def __init__(self, sound: Sound) -> None:
        self._sound = sound
        self._width = sound.bytes_per_frame // sound.channels
        self._silence = SILENCE[sound.encoding]
        self._tracks = [_Track() for _ in range(sound.channels)]
        self._taken = 0

    def add(self, channel: int, raw: bytes, at_seconds: float | None) -> None:
        """Takes a piece of a track. A piece whose time has been taken already is dropped.

        Without a time it follows the piece before it. If its track begins later than the others, or pauses for longer
        than they wait, it begins where the others are.
        """
        track, whole = self._tracks[channel], len(raw) - len(raw) % self._width
        rate = self._sound.sample_rate
        newest = max(each.end for each in self._tracks)
        same_start = max(SAME_START_SECONDS * rate, whole // self._width)
        begins_now = track.end < self._taken or (track.end == 0 and newest > same_start)
        at = newest if begins_now else track.end
        if at_seconds is not None and 0 <= at_seconds < newest / rate + LONGEST_GAP_SECONDS:
            at = round(at_seconds * rate)
            if abs(at - track.end) < rate // 100:  # less than half a piece of 20 ms: the clocks are not exact
                at = track.end
        track.add(at, raw[:whole], self._width)

    def take(self, *, all_of_it: bool = False) -> bytes:
        """The next interleaved samples: those of which all tracks are there, or that the others wait for too long."""
        newest = max(track.end for track in self._tracks)
        ready = min(track.contiguous_until(self._taken, self._width) for track in self._tracks)
        waited = newest - round(LATEST_SECONDS * self._sound.sample_rate)
        until = newest if all_of_it else max(ready, waited)
        if until <= self._taken:
            return b""
        lines = [track.take(self._taken, until, self._width, self._silence) for track in self._tracks]
        self._taken = until
        return interleaved(lines, self._width)


def interleaved(lines: Sequence[bytes], width: int) -> bytes:
    """Joins lines of equal length, sample by sample."""
    if len(lines) == 1:
        return lines[0]
    whole = bytearray(sum(map(len, lines)))
    step = width * len(lines)
    for number, line in enumerate(lines):
        for byte in range(width):
            whole[number * width + byte :: step] = line[byte::width]
    return bytes(whole)
