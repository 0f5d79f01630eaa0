"""How many more jobs a worker may claim, and whose."""

import pytest

from app.jobs.claims.capacity import (
    FETCHES,
    NO_CAPACITY,
    SLOTS,
    Capacity,
    Held,
    Pauses,
    free_fetches,
    free_slots,
    limited_to,
    without,
)
from app.process.shares import Shares

ALONE = Shares()
UPLOAD = Held("crm", came_with_recording=True)
FETCHING = Held("crm", came_with_recording=False, fetching="pbx.example:443")
FETCHED = Held("crm", came_with_recording=False)


@pytest.mark.parametrize(
    ("held", "slots", "fetches"),
    [
        ([], 21, 10),
        ([UPLOAD] * 16, 5, 10),
        ([UPLOAD] * 21, 0, 10),
        ([FETCHING] * 10, 21, 0),
        ([UPLOAD] * 3 + [FETCHED] * 14 + [FETCHING] * 2, 18, 5),
        ([FETCHED] * 21, 21, 0),
    ],
)
def test_uploads_and_fetches_have_separate_places(held: list[Held], slots: int, fetches: int) -> None:
    assert free_slots(held, Pauses(), 0.0, ALONE).places == slots
    assert free_fetches(held, Pauses(), 0.0, ALONE).places == fetches


def test_one_key_leaves_the_last_quarter_to_others() -> None:
    assert (SLOTS, FETCHES) == (21, 10)
    capacity = free_slots([UPLOAD] * 15, Pauses(), 0.0, ALONE)
    assert (capacity.of_caller, capacity.each_caller) == ({"crm": 1}, 16)
    assert free_slots([UPLOAD] * 16, Pauses(), 0.0, ALONE).of_caller == {"crm": 0}
    assert free_fetches([FETCHING] * 8, Pauses(), 0.0, ALONE).of_caller == {"crm": 0}
    assert free_fetches([FETCHED] * 16, Pauses(), 0.0, ALONE).of_caller == {"crm": 0}


def test_one_host_leaves_the_last_quarter_of_the_fetches_to_others() -> None:
    others = Held("other", came_with_recording=False, fetching="pbx.example:443")
    capacity = free_fetches([FETCHING] * 4 + [others] * 3, Pauses(), 0.0, ALONE)
    assert (capacity.of_host, capacity.each_host) == ({"pbx.example:443": 1}, 8)
    assert free_slots([UPLOAD] * 3, Pauses(), 0.0, ALONE).each_host is None


def test_a_worker_is_crowded_if_running_jobs_hold_all_places() -> None:
    assert free_slots([UPLOAD] * 21, Pauses(), 0.0, ALONE).crowded
    assert free_fetches([FETCHING] * 10, Pauses(), 0.0, ALONE).crowded
    assert not free_slots([UPLOAD] * 21, Pauses(stored=1.0), 0.0, ALONE).crowded


@pytest.mark.parametrize(("now", "slots", "fetches"), [(9.9, 0, 0), (10.0, 21, 0), (20.0, 21, 10)])
def test_each_kind_of_job_has_its_own_pause(now: float, slots: int, fetches: int) -> None:
    pauses = Pauses(stored=10.0, fetched=20.0)
    assert (free_slots([], pauses, now, ALONE).places, free_fetches([], pauses, now, ALONE).places) == (slots, fetches)


def test_capacity_for_a_single_job_keeps_the_limits_of_the_keys() -> None:
    assert limited_to(Capacity(7, 3, of_caller={"crm": 0}), 1) == Capacity(1, 3, of_caller={"crm": 0})
    assert limited_to(NO_CAPACITY, 1) == NO_CAPACITY


def test_one_more_claimed_job_takes_its_place_from_its_key_and_its_host() -> None:
    assert without(Capacity(7, 3, 2), "crm", "pbx") == Capacity(6, 3, 2, of_caller={"crm": 2}, of_host={"pbx": 1})
    assert without(Capacity(7, 3, of_caller={"crm": 1}), "crm") == Capacity(6, 3, of_caller={"crm": 0})
