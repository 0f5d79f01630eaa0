"""Who may add a job to a queue that is nearly full."""

from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.changes.queue_limit import QueueLimit


def fill(limit: QueueLimit, held: dict[str, int], keys: list[str]) -> None:
    """Let the keys add jobs alternately until none of them may add another."""
    refused = 0
    for key in cycle(keys):
        if limit.admits(sum(held.values()), held.get(key, 0), sum(held.values())):
            held[key] = held.get(key, 0) + 1
            refused = 0
        elif (refused := refused + 1) == len(keys):
            return


@pytest.mark.parametrize(("keys", "most"), [(1, 100), (2, 75), (3, 75)])
def test_one_of_several_keys_fills_at_most_three_quarters_of_the_queue(keys: int, most: int) -> None:
    held: dict[str, int] = {}
    fill(QueueLimit(100, keys), held, ["greedy"])
    assert held == {"greedy": most}


@given(pending=st.integers(40, 400), keys=st.integers(2, 10), data=st.data())
def test_each_key_can_use_its_reserve_even_if_the_others_fill_the_queue(
    pending: int, keys: int, data: st.DataObject
) -> None:
    limit = QueueLimit(pending, keys)
    others = [f"key-{number}" for number in range(keys - 1)]
    held: dict[str, int] = {}
    for some in data.draw(st.lists(st.lists(st.sampled_from(others), min_size=1), min_size=1, max_size=5)):
        fill(limit, held, some)
    fill(limit, held, others)
    fill(limit, held, ["late"])
    assert held["late"] >= limit.reserve
    assert sum(held.values()) <= pending


def test_the_queue_is_never_longer_than_its_limit() -> None:
    held: dict[str, int] = {}
    fill(QueueLimit(100, 4), held, ["a", "b", "c", "d"])
    assert sum(held.values()) <= 100
    assert min(held.values()) >= QueueLimit(100, 4).reserve
