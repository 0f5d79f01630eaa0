"""How many more jobs a worker takes."""

import pytest

from app.jobs.places import Free, Rest, Taken, free_places


@pytest.mark.parametrize(
    ("taken", "free"),
    [
        (Taken(stored=0, fetched=0, fetching=0), Free(slots=16, fetches=8)),
        (Taken(stored=16, fetched=0, fetching=0), Free(slots=0, fetches=8)),
        (Taken(stored=0, fetched=0, fetching=8), Free(slots=16, fetches=0)),
        (Taken(stored=3, fetched=10, fetching=2), Free(slots=13, fetches=4)),
        (Taken(stored=0, fetched=16, fetching=0), Free(slots=16, fetches=0)),
    ],
)
def test_uploads_and_fetches_have_places_of_their_own(taken: Taken, free: Free) -> None:
    assert free_places(taken, Rest(), now=0.0) == free


@pytest.mark.parametrize(
    ("now", "free"), [(9.9, Free(slots=0, fetches=0)), (10.0, Free(slots=16, fetches=0)), (20.0, Free(16, 8))]
)
def test_each_kind_rests_for_as_long_as_it_has_to(now: float, free: Free) -> None:
    assert free_places(Taken(0, 0, 0), Rest(stored=10.0, fetched=20.0), now) == free
