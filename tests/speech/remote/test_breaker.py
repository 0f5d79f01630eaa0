"""When a remote model counts as away."""

from app.speech.remote.breaker import FAILURES_IN_A_ROW, LONGEST_PAUSE_SECONDS, LOST_IN_A_ROW, Breaker


def test_failures_in_a_row_are_too_many() -> None:
    breaker = Breaker()
    assert [breaker.failed(at, at + 0.5) for at in range(FAILURES_IN_A_ROW)] == [False, False, False, True]


def test_an_answer_ends_the_row() -> None:
    breaker = Breaker()
    for at in range(FAILURES_IN_A_ROW - 1):
        breaker.failed(at, at + 0.5)
    breaker.answered()
    assert not breaker.failed(10.0, 10.5)


def test_requests_that_were_cut_together_count_as_one_failure() -> None:
    breaker = Breaker()
    assert not any(breaker.failed(0.0, 1.0) for _ in range(8))


def test_requests_that_met_a_busy_server_together_lead_to_one_short_pause() -> None:
    breaker = Breaker()
    for _ in range(8):
        breaker.is_busy(None, 0.0, 1.0)
    assert breaker.wait(1.0) == 1.0


def test_pauses_grow_while_a_server_stays_busy() -> None:
    breaker, now, pauses = Breaker(), 0.0, []
    for _ in range(8):
        breaker.is_busy(None, now, now)
        pauses.append(breaker.wait(now))
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_pause_is_as_long_as_the_server_asks() -> None:
    breaker = Breaker()
    breaker.is_busy(90.0, 0.0, 1.0)
    breaker.is_busy(None, 0.0, 1.0)
    assert breaker.wait(1.0) == 90.0
    breaker.is_busy(90_000.0, 1.0, 2.0)
    assert breaker.wait(2.0) == LONGEST_PAUSE_SECONDS


def test_no_window_may_be_lost_before_the_server_has_written_one() -> None:
    breaker = Breaker()
    breaker.answered()
    assert not breaker.may_lose(0.0)


def test_few_windows_in_a_row_may_be_lost() -> None:
    breaker = Breaker()
    breaker.wrote(1.0)
    assert [breaker.may_lose(2.0) for _ in range(LOST_IN_A_ROW + 1)] == [True, True, True, False]
    breaker.answered()
    assert not breaker.may_lose(2.0)


def test_any_window_may_be_lost_if_the_server_has_written_another_one_since() -> None:
    breaker = Breaker()
    breaker.wrote(3.0)
    assert all(breaker.may_lose(2.0) for _ in range(2 * LOST_IN_A_ROW))


def test_only_an_answer_to_what_was_sent_later_ends_a_trouble() -> None:
    breaker = Breaker()
    breaker.broke("away", 2.0)
    assert not breaker.ends_trouble(1.0, 3.0, is_trial=True)
    assert breaker.ends_trouble(2.0, 3.0, is_trial=True)


def test_no_trial_ends_a_trouble_that_is_held() -> None:
    breaker = Breaker()
    breaker.broke("it takes trials, but no windows", 2.0, hold=60.0)
    assert not breaker.ends_trouble(3.0, 4.0, is_trial=True)
    assert breaker.ends_trouble(3.0, 4.0, is_trial=False)
    assert breaker.ends_trouble(3.0, 63.0, is_trial=True)


def test_no_answer_ends_a_trouble_while_the_server_asks_to_wait() -> None:
    breaker = Breaker()
    breaker.is_busy(100.0, 1.0, 2.0)
    breaker.broke("busy", 2.0)
    assert not breaker.ends_trouble(3.0, 4.0, is_trial=False)
    assert breaker.ends_trouble(103.0, 104.0, is_trial=False)
