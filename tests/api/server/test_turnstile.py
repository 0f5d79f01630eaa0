"""Places are shared fairly between clients, however many requests one of them sends."""

from app.api.server.turnstile import Pass, Turnstile


class Requests:
    """Requests that note when they begin."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self.begun: list[str] = []

    def enter(self, name: str) -> Pass:
        return self._turnstile.enter(name[0], lambda: self.begun.append(name))


def test_a_client_with_many_requests_does_not_delay_another_client() -> None:
    requests = Requests(Turnstile(most=2, most_of_a_client=2))
    first, second, *_ = [requests.enter(f"a{number}") for number in range(5)]
    requests.enter("b0")
    assert requests.begun == ["a0", "a1"]
    first.leave()
    second.leave()
    assert requests.begun == ["a0", "a1", "a2", "b0"]


def test_a_client_leaves_places_to_others() -> None:
    requests = Requests(Turnstile(most=3, most_of_a_client=2))
    passes = [requests.enter(name) for name in ("a0", "a1", "a2", "b0")]
    assert requests.begun == ["a0", "a1", "b0"]
    passes[3].leave()
    assert requests.begun == ["a0", "a1", "b0"]
    passes[0].leave()
    assert requests.begun == ["a0", "a1", "b0", "a2"]


def test_a_request_that_leaves_early_never_begins_and_a_second_leave_frees_no_place() -> None:
    requests = Requests(Turnstile(most=1, most_of_a_client=1))
    passes = [requests.enter(name) for name in ("a0", "a1", "b0", "c0")]
    passes[1].leave()
    passes[0].leave()
    passes[0].leave()
    assert requests.begun == ["a0", "b0"]
    passes[2].leave()
    assert requests.begun == ["a0", "b0", "c0"]
