from collections.abc import Callable
from dataclasses import dataclass, field

from app.process.places import Rank
from app.speech.batching.lanes import AGAIN_PATIENCE, PATIENCE, RECOVERY, SHORT_PATIENCE, Lanes


@dataclass(eq=False)
class Call:
    ended: bool = False
    rank: Rank = field(default_factory=Rank)

    def fail(self, error: Exception) -> None:
        raise AssertionError


@dataclass(frozen=True)
class Item:
    value: int
    kind: str = "common"
    job: Call = field(default_factory=Call)
    hurries: Callable[[], bool] | None = None
    again: bool = False


def lanes(*items: Item, batch_size: int = 4) -> Lanes[Item]:
    queue: Lanes[Item] = Lanes(batch_size)
    for item in items:
        queue.put(item, item.kind)
    return queue


def values(batch: list[Item]) -> list[int]:
    return [item.value for item in batch]


def test_a_full_batch_has_the_oldest_items() -> None:
    queue = lanes(*map(Item, range(6)))

    assert values(queue.take_full()) == [0, 1, 2, 3]
    assert queue.take_full() == []


def test_kinds_do_not_share_a_batch() -> None:
    queue = lanes(*(Item(n, kind) for n in range(3) for kind in "ab"))

    assert queue.take_full() == []
    assert values(queue.take_part(1)) == values(queue.take_part(1)) == [0, 1, 2]


def test_idle_threads_share_the_last_items() -> None:
    queue = lanes(*map(Item, range(3)), batch_size=8)

    assert [len(queue.take_part(2)), len(queue.take_part(1))] == [2, 1]


def test_a_batch_of_last_items_is_filled_up_to_half_with_others() -> None:
    queue = lanes(*map(Item, range(7)), batch_size=8)

    assert queue.take_last(lambda item: item.value > 9) == []
    assert values(queue.take_last(lambda item: item.value in (3, 5))) == [3, 5, 0, 1]
    assert values(queue.take_last(lambda _: True)) == [2, 4, 6]


def test_batches_that_were_too_large_stay_half_as_large_until_many_have_succeeded() -> None:
    queue = lanes(*map(Item, range(2 * RECOVERY + 8)))
    queue.shrink(4)

    sizes = [len(queue.take_full()) for _ in range(RECOVERY + 1)]
    assert sizes == [2] * RECOVERY + [4]


def test_halves_that_fail_too_do_not_make_batches_smaller_than_what_fits() -> None:
    queue = lanes(*map(Item, range(20)), batch_size=16)
    for failed in (16, 8, 8):  # a batch of four fits
        queue.shrink(failed)
    assert len(queue.take_full()) == 4


def test_a_batch_holds_at_least_one_item() -> None:
    queue = lanes(Item(0))
    for failed in (4, 2, 1):
        queue.shrink(failed)
    assert values(queue.take_full()) == [0]


def test_items_of_ended_jobs_are_dropped() -> None:
    queue = lanes(Item(0, job=Call(ended=True)), Item(1), Item(2, "other", Call(ended=True)))
    queue.drop_ended()

    assert [values(queue.take_part(1)), queue.take_part(1)] == [[1], []]


def test_a_kind_that_never_fills_a_batch_does_not_starve() -> None:
    rare = Item(100, "rare")
    queue = lanes(rare, *map(Item, range(4 * PATIENCE)))

    assert rare in [item for _ in range(PATIENCE + 1) for item in queue.take_full()]


def test_other_work_does_not_starve_queued_items() -> None:
    queue = lanes(Item(1))
    for _ in range(PATIENCE):
        assert queue.take_full() == []
        queue.overtake()

    assert values(queue.take_full()) == [1]


URGENT, PATIENT = Call(rank=Rank(priority=0)), Call(rank=Rank(priority=9))


def test_the_most_urgent_items_go_first() -> None:
    queue = lanes(*(Item(n, job=PATIENT) for n in range(6)), Item(6, job=URGENT), Item(7, job=URGENT))

    assert queue.most_urgent() == 0
    assert values(queue.take_full()) == [6, 7, 0, 1]
    assert queue.most_urgent() == 9


def test_a_lane_with_urgent_items_goes_before_one_that_waits_longer() -> None:
    queue = lanes(*(Item(n, "first", PATIENT) for n in range(4)), *(Item(n, "second", URGENT) for n in range(4, 8)))

    assert [values(queue.take_full()), values(queue.take_full())] == [[4, 5, 6, 7], [0, 1, 2, 3]]


def test_urgent_items_do_not_starve_the_others() -> None:
    queue = lanes(Item(-1, job=PATIENT), batch_size=1)
    taken: list[int] = []
    for number in range(20 * PATIENCE):
        queue.put(Item(number, job=URGENT), "common")
        taken += values(queue.take_full())

    assert -1 in taken


def test_an_item_that_hurries_does_not_wait_for_a_full_batch() -> None:
    is_waited_for = [False]
    queue = lanes(Item(0), Item(1, hurries=lambda: is_waited_for[0]))
    for _ in range(SHORT_PATIENCE):
        queue.overtake()
    assert queue.take_full() == []
    is_waited_for[0] = True
    assert values(queue.take_full()) == [0, 1]


def test_an_item_that_hurries_goes_after_more_urgent_batches() -> None:
    urgent, read_along = Call(rank=Rank(priority=1)), Call(rank=Rank(priority=5))
    queue = lanes(Item(9, "b", read_along, hurries=lambda: True), *(Item(n, "a", urgent) for n in range(4)))
    for _ in range(SHORT_PATIENCE):
        queue.overtake()
    assert values(queue.take_full()) == [0, 1, 2, 3]
    assert values(queue.take_full()) == [9]


def test_items_that_are_recognized_again_do_not_wait_until_all_else_is_done() -> None:
    queue = lanes(Item(9, "b", again=True), Item(0, "a"))
    for _ in range(AGAIN_PATIENCE):
        assert queue.take_full() == []
        queue.overtake()
    assert values(queue.take_full()) == [9]
    assert queue.take_full() == []


def test_at_the_end_items_that_are_recognized_again_go_first_and_stay_together() -> None:
    queue = lanes(*(Item(n, "a") for n in range(4)), *(Item(n, "b", again=True) for n in (8, 9)))
    assert [values(queue.take_part(2)) for _ in range(3)] == [[8, 9], [0, 1], [2]]


def test_items_that_are_recognized_again_share_a_batch_with_new_ones_of_their_kind() -> None:
    queue = lanes(*(Item(n, again=n == 3) for n in range(4)))
    assert values(queue.take_part(2)) == [0, 1]


def test_items_of_live_calls_wait_for_no_others_and_share_no_batch_with_them() -> None:
    live = Call(rank=Rank(-1))
    queue = lanes(*map(Item, range(6)), Item(9, job=live))
    queue.small_size = 2

    assert values(queue.take_full()) == [9]
    assert values(queue.take_full()) == [0, 1]


def test_batches_are_small_only_while_live_calls_go_on() -> None:
    queue = lanes(*map(Item, range(6)))
    queue.small_size = 2
    assert values(queue.take_full()) == [0, 1]
    queue.small_size = None
    assert values(queue.take_full()) == [2, 3, 4, 5]


def test_other_items_still_move_beside_live_calls() -> None:
    queue = lanes(Item(0))
    queue.small_size = 2
    taken = []
    for number in range(2 * PATIENCE):
        queue.put(Item(100 + number, "live", job=Call(rank=Rank(-1))), "live")
        taken += queue.take_full()

    assert 0 in values(taken)
