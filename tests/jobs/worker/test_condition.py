"""When a worker that could not work claims jobs again."""

from app.jobs.worker.condition import HINDRANCES_IN_A_ROW, TRIAL_PAUSES_SECONDS, Condition


def hindered(times: int) -> Condition:
    condition = Condition()
    for _ in range(times):
        condition.attempt_hindered("Read-only file system", 0.0)
    return condition


def test_one_successful_trial_is_enough_after_a_single_trouble() -> None:
    condition = hindered(1)
    assert condition.trouble is None
    assert condition.needs_trial
    assert not condition.is_trial_due(0.0)
    assert condition.is_trial_due(TRIAL_PAUSES_SECONDS[0])
    condition.trial_succeeded()
    assert not condition.needs_trial
    assert not condition.on_probation


def test_a_worker_is_on_probation_after_several_troubles_in_a_row() -> None:
    condition = hindered(HINDRANCES_IN_A_ROW)
    condition.trial_succeeded()
    assert condition.on_probation
    condition.attempt_hindered("Read-only file system", 0.0)
    condition.trial_succeeded()
    assert condition.on_probation
    condition.attempt_succeeded()
    assert not condition.on_probation


def test_a_worker_is_not_ready_while_its_trials_fail() -> None:
    condition = hindered(HINDRANCES_IN_A_ROW)
    assert condition.trouble is None
    condition.trial_failed("Read-only file system", 0.0)
    assert condition.trouble == "Read-only file system"
    condition.trial_succeeded()
    assert condition.trouble is None
    assert condition.on_probation


def test_a_success_between_troubles_ends_the_row() -> None:
    condition = hindered(HINDRANCES_IN_A_ROW - 1)
    condition.trial_succeeded()
    condition.attempt_succeeded()
    condition.attempt_hindered("again", 0.0)
    assert not condition.on_probation


def test_a_job_that_began_before_the_trouble_and_succeeds_does_not_replace_the_trial() -> None:
    condition = hindered(HINDRANCES_IN_A_ROW)
    condition.attempt_succeeded()
    assert condition.needs_trial
    assert condition.on_probation


def test_trials_wait_longer_each_time_that_one_fails() -> None:
    condition, now, waits = Condition(), 0.0, []
    for _ in range(len(TRIAL_PAUSES_SECONDS) + 1):
        condition.trial_failed("Input/output error", now)
        assert condition.trouble == "Input/output error"
        wait = next(seconds for seconds in TRIAL_PAUSES_SECONDS if condition.is_trial_due(now + seconds))
        waits.append(wait)
        now += wait
    assert waits == [*TRIAL_PAUSES_SECONDS[1:], TRIAL_PAUSES_SECONDS[-1], TRIAL_PAUSES_SECONDS[-1]]


def test_trouble_during_the_wait_for_a_trial_does_not_postpone_it() -> None:
    condition = Condition()
    condition.trial_failed("Input/output error", 0.0)
    condition.attempt_hindered("Input/output error", 0.9)
    assert condition.is_trial_due(TRIAL_PAUSES_SECONDS[1])
