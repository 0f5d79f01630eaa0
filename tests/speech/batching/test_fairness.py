from dataclasses import dataclass, field

from app.speech.batching.fairness import FIRST_TURNS, TURNS_TO_RISE, Share, Turns


@dataclass(eq=False)
class Call:
    name: str
    share: Share = field(default_factory=Share)
    ended: bool = False


@dataclass(frozen=True)
class Channel:
    job: Call


def turns(*jobs: Call) -> Turns[Channel]:
    waiting: Turns[Channel] = Turns()
    for job in jobs:
        waiting.put(Channel(job))
    return waiting


def take(waiting: Turns[Channel], count: int) -> str:
    """The names of those who had the next turns; each of them waits again at once."""
    names = []
    for _ in range(count):
        channel = waiting.take()
        assert channel
        waiting.put(channel)
        names.append(channel.job.name)
    return "".join(names)


def test_jobs_take_turns() -> None:
    assert take(turns(Call("a"), Call("b"), Call("c")), 7) == "abcabca"


def test_a_job_of_two_channels_has_no_more_turns_than_others() -> None:
    stereo = Call("s")

    assert take(turns(stereo, stereo, Call("m")), 6) == "smsmsm"


def test_owners_take_turns_whatever_they_ask() -> None:
    many = [Call(name, Share(owner="alice")) for name in "abc"]

    assert take(turns(*many, Call("x", Share(owner="bob"))), 8) == "axbxcxax"


def test_the_urgent_go_first_and_the_others_do_not_starve() -> None:
    names = take(turns(Call("l", Share(priority=9)), Call("u", Share(priority=0))), 20 * TURNS_TO_RISE)

    assert names[0] == "u"
    assert 1 <= names.count("l") <= 3


def test_a_new_job_goes_before_those_that_had_turns() -> None:
    waiting = turns(Call("a"), Call("b"))
    take(waiting, 2 * FIRST_TURNS)
    new = Channel(Call("n"))
    for _ in range(FIRST_TURNS):
        waiting.put(new)
        assert waiting.take_new() == new
    waiting.put(new)

    assert waiting.take_new() is None
    assert take(waiting, 3) == "abn"


def test_nobody_waits_for_what_has_ended() -> None:
    gone = Call("g")
    waiting = turns(gone, Call("a"))
    gone.ended = True
    waiting.drop_ended()

    assert take(waiting, 2) == "aa"
