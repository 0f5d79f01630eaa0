"""Decides how many people speak, and who says each piece. Pure.

Pieces with similar voices form groups, and each group is a speaker. A piece alone is easily mistaken, so its neighbours
count too: what follows without a pause is probably said by the same person.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.speech.speakers.pieces import Piece

Vectors = NDArray[np.float32]
Seconds = NDArray[np.float64]

MOST_COMPARED = 500  # pieces, from all of the call; comparing all of a long call would take minutes
SAME_VOICE, SAME_VOICE_IN_SHORT, LONG_SECONDS = 0.82, 0.4, 10.0
"""Two groups of pieces are of one voice if the cosine of their mean vectors is at least this: the first from so many
seconds of each on. The means of few pieces differ by chance, so the limit falls to the second at LEAST_SECONDS."""
LEAST_SECONDS, LEAST_SHARE = 2.0, 0.03  # less speech is no speaker: noise and laughter are like nobody's voice
LEAST_MARGIN = 2.3
"""Two voices are further apart: the mean of the margins of all pieces is so many times their standard deviation. The
pieces of one voice, cut in two, reach 2.1; the most similar of two voices 2.6 (`python -m proofs.speakers`)."""
PERHAPS_MARGIN = 1.9
"""From here on, two groups that may be of one voice may also be of two that are much alike. Then the smaller group gets
no name, because a wrong name is worse than none."""
ROUNDS, ATTEMPTS = 8, 20
CLEAR_SECONDS = 0.8  # the voices of shorter pieces differ too much to form groups
SHARPNESS = 0.035  # e times as probable, if a piece of a second is so much more similar to one speaker than to another
STAYS_IN_STRETCH, STAYS_WITH_PERSON, LEAVES_PERSON = 3.0, 0.7, 2.0  # logarithms of odds


@dataclass(frozen=True, slots=True)
class Groups:
    """A vector of length 1 for each group of pieces. `nameless` is the group that may be a speaker or not."""

    centres: Vectors
    nameless: int | None = None


@dataclass(frozen=True, slots=True)
class Naming:
    """How probably each speaker says each piece, as (pieces, speakers). The speaker `nameless` gets no name."""

    probabilities: NDArray[np.float64]
    nameless: int | None = None


def named(pieces: Sequence[Piece], most: int, exact: int | None) -> Naming:
    known = [piece for piece in pieces if piece.voice is not None]
    if not known:
        return Naming(np.full((len(pieces), exact or 1), 1 / (exact or 1)))
    known = [piece for piece in known if piece.seconds >= CLEAR_SECONDS] or known
    vectors = np.stack([piece.voice for piece in known if piece.voice is not None])
    groups = groups_of(vectors, np.array([piece.seconds for piece in known]), most, exact)
    speakers = groups.centres
    likely = np.stack(
        [
            np.zeros(len(speakers))
            if piece.voice is None
            else min(piece.seconds, 1.5) * (speakers @ piece.voice) / SHARPNESS
            for piece in pieces
        ]
    )
    return Naming(_with_neighbours(pieces, likely), groups.nameless)


def groups_of(vectors: Vectors, seconds: Seconds, most: int, exact: int | None) -> Groups:
    """A group for each speaker. Each of the `vectors` stands for so many `seconds` of speech."""
    chosen = np.linspace(0, len(vectors) - 1, min(len(vectors), MOST_COMPARED)).astype(int)
    some, weights = vectors[chosen], seconds[chosen]
    tree = _tree(some, weights)
    for count in range(exact or most, 1, -1):
        begun = [_cut(tree, some, weights, count), *_chosen(some, count)]
        found = max((_refined(each, some, weights) for each in begun), key=lambda each: _fit(each, some, weights))
        if exact:
            return Groups(found)
        if len(found) == count:
            spoken, differ, margin = _compared(found, some, weights)
            if differ and margin >= LEAST_MARGIN:
                return Groups(found)
            if count == 2 and spoken.min() >= LONG_SECONDS and margin >= PERHAPS_MARGIN:
                return Groups(found, int(np.argmin(spoken)))
    return Groups(_mean(vectors, seconds)[None])


def _chosen(vectors: Vectors, count: int) -> Iterator[Vectors]:
    """Pieces that groups may form around. The tree is misled by a few odd pieces if all voices are alike."""
    chance = np.random.default_rng(0)
    for _ in range(ATTEMPTS if len(vectors) >= count else 0):
        yield vectors[chance.choice(len(vectors), count, replace=False)]


def _fit(found: Vectors, vectors: Vectors, seconds: Seconds) -> float:
    return float((seconds * (vectors @ found.T).max(axis=1)).sum())


def _compared(found: Vectors, vectors: Vectors, seconds: Seconds) -> tuple[Seconds, bool, float]:
    """How long each group speaks, whether their means differ enough, and their margin (LEAST_MARGIN)."""
    nearest = np.argmax(vectors @ found.T, axis=1)
    spoken = np.array([seconds[nearest == each].sum() for each in range(len(found))])
    if spoken.min() < LEAST_SECONDS:
        return spoken, False, 0.0
    enough = np.interp(spoken, [LEAST_SECONDS, LONG_SECONDS], [SAME_VOICE_IN_SHORT, SAME_VOICE])
    alike, pairs = found @ found.T, np.triu_indices(len(found), 1)
    margins = _margins(nearest, vectors, seconds, len(found))
    differ = bool(np.all(alike[pairs] < np.minimum.outer(enough, enough)[pairs]))
    return spoken, differ, float(margins.mean() / max(margins.std(), 1e-9))


def _margins(nearest: NDArray[np.int64], vectors: Vectors, seconds: Seconds, count: int) -> NDArray[np.float64]:
    """By how much each piece is more similar to the other pieces of its group than to the nearest other group.

    A piece is not compared with itself. Otherwise a cloud of vectors that is cut in two would look like two groups.
    """
    totals = np.stack(
        [(vectors[nearest == each] * seconds[nearest == each, None]).sum(axis=0) for each in range(count)]
    )
    margins = []
    for vector, weight, own in zip(vectors, seconds, nearest, strict=True):
        others = totals.copy()
        others[own] -= weight * vector
        alike = others @ vector / np.maximum(np.linalg.norm(others, axis=1), 1e-9)
        margins.append(alike[own] - np.delete(alike, own).max())
    return np.array(margins)


def _tree(vectors: Vectors, seconds: Seconds) -> list[tuple[int, int]]:
    """Joins the two most similar groups until one is left. Similarity is the mean of all pairs, by their seconds.

    Returns the joins. A group has the number of its first member.
    """
    similar = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(similar, -np.inf)
    weight, joins = seconds.copy(), []
    for _ in range(len(vectors) - 1):
        first, second = sorted(divmod(int(np.argmax(similar)), len(vectors)))
        joins.append((first, second))
        both = weight[first] * similar[first] + weight[second] * similar[second]
        similar[first] = similar[:, first] = both / (weight[first] + weight[second])
        similar[second] = similar[:, second] = similar[first, first] = -np.inf
        weight[first] += weight[second]
    return joins


def _cut(tree: Sequence[tuple[int, int]], vectors: Vectors, seconds: Seconds, count: int) -> Vectors:
    """The centres of the first `count` groups that are large enough, going down from the root; fewer if there are not
    so many."""
    least = max(LEAST_SECONDS, LEAST_SHARE * float(seconds.sum()))
    best: list[list[int]] = []
    groups = {index: [index] for index in range(len(vectors))}
    history = [dict(groups)] if len(vectors) <= count else []
    for done, (first, second) in enumerate(tree, start=1):
        groups[first] = groups[first] + groups.pop(second)
        if len(vectors) - done < 200:
            history.append(dict(groups))
    for at in reversed(history):
        large = [group for group in at.values() if seconds[group].sum() >= least]
        if len(large) > len(best):
            best = large
        if len(best) >= count:
            break
    return np.stack([_mean(vectors[group], seconds[group]) for group in best[:count] or [list(range(len(vectors)))]])


def _refined(found: Vectors, vectors: Vectors, seconds: Seconds) -> Vectors:
    for _ in range(ROUNDS):
        nearest = np.argmax(vectors @ found.T, axis=1)
        found = np.stack(
            [
                _mean(vectors[nearest == each], seconds[nearest == each]) if np.any(nearest == each) else found[each]
                for each in range(len(found))
            ]
        )
    return found


def _mean(vectors: Vectors, seconds: Seconds) -> Vectors:
    total = (vectors * seconds[:, None]).sum(axis=0)
    return np.asarray(total / np.linalg.norm(total), np.float32)


def _with_neighbours(pieces: Sequence[Piece], likely: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of a chain in which each piece depends on its neighbours (forward-backward algorithm)."""
    count = likely.shape[1]
    stays = [_stays(before, after) for before, after in pairwise(pieces)]
    same = np.eye(count)
    forward, backward = likely.copy(), np.zeros_like(likely)
    for at, bonus in enumerate(stays):
        forward[at + 1] += _log_sum(forward[at][:, None] + bonus * same)
        forward[at + 1] -= forward[at + 1].max()
    for at in range(len(stays) - 1, -1, -1):
        backward[at] = _log_sum((backward[at + 1] + likely[at + 1])[:, None] + stays[at] * same)
        backward[at] -= backward[at].max()
    total = forward + backward
    odds = np.exp(total - total.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _stays(before: Piece, after: Piece) -> float:
    if before.stretch is after.stretch:
        return STAYS_IN_STRETCH
    if before.stretch.window != after.stretch.window:
        return 0.0
    return STAYS_WITH_PERSON if before.stretch.person == after.stretch.person else -LEAVES_PERSON


def _log_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    most = values.max(axis=0)
    return np.asarray(most + np.log(np.exp(values - most).sum(axis=0)))
