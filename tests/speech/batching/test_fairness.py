from dataclasses import dataclass, field

from app.process.places import Rank
from app.speech.batching.fairness import FIRST_STEPS, STEPS_TO_RISE, FairQueue


@dataclass(eq=False)
class Call:
    name: str
    rank: Rank = field(default_factory=Rank)
    ended: bool = False

    def fail(self, error: Exception) -> None:
        raise AssertionError


@dataclass(frozen=True)
class Channel:
    job: Call


def queue(*jobs: Call) -> FairQueue[Channel]:
    waiting: FairQueue[Channel] = FairQueue()
    for job in jobs:
        waiting.put(Channel(job))
    return waiting


def take(waiting: FairQueue[Channel], count: int) -> str:
    """The names of the jobs that get the next steps. Each of them waits again immediately."""
    names = []
    for _ in range(count):
        channel = waiting.take()
        assert channel
        waiting.put(channel)
        names.append(channel.job.name)
    return "".join(names)


def test_two_jobs_alternate() -> None:
    assert take(queue(Call("a"), Call("b"), Call("c")), 7) == "abcabca"


def test_a_job_of_two_channels_gets_no_more_steps_than_others() -> None:
    stereo = Call("s")

    assert take(queue(stereo, stereo, Call("m")), 6) == "smsmsm"


def test_owners_alternate_even_if_one_has_more_jobs() -> None:
    many = [Call(name, Rank(owner="alice")) for name in "abc"]

    assert take(queue(*many, Call("x", Rank(owner="bob"))), 8) == "axbxcxax"


def test_tenants_alternate_even_if_one_has_more_owners() -> None:
    many = [Call(name, Rank(owner=name, tenant="many")) for name in "abc"]

    assert take(queue(*many, Call("x", Rank(owner="x", tenant="one"))), 8) == "axbxcxax"


def test_urgent_jobs_go_first_and_the_others_do_not_starve() -> None:
    names = take(queue(Call("l", Rank(priority=9)), Call("u", Rank(priority=0))), 20 * STEPS_TO_RISE)

    assert names[0] == "u"
    assert 1 <= names.count("l") <= 3


def test_a_new_job_goes_before_those_that_had_steps() -> None:
    waiting = queue(Call("a"), Call("b"))
    take(waiting, 2 * FIRST_STEPS)
    new = Channel(Call("n"))
    for _ in range(FIRST_STEPS):
        waiting.put(new)
        assert waiting.take_new() == new
    waiting.put(new)

    assert waiting.take_new() is None
    assert take(waiting, 3) == "abn"


def test_an_ended_job_is_dropped() -> None:
    gone = Call("g")
    waiting = queue(gone, Call("a"))
    gone.ended = True
    waiting.drop_ended()

    assert take(waiting, 2) == "aa"
