"""Places are shared fairly between clients, however many requests one of them sends."""

from app.api.server.request_queue import QueuedRequest, RequestQueue


class Requests:
    """Requests that note when they begin."""

    def __init__(self, queue: RequestQueue) -> None:
        self._queue = queue
        self.begun: list[str] = []

    def add(self, name: str) -> QueuedRequest:
        return self._queue.add(name[0], lambda: self.begun.append(name))


def test_a_client_with_many_requests_does_not_delay_another_client() -> None:
    requests = Requests(RequestQueue(most=2, most_per_client=2))
    first, second, *_ = [requests.add(f"a{number}") for number in range(5)]
    requests.add("b0")
    assert requests.begun == ["a0", "a1"]
    first.release()
    second.release()
    assert requests.begun == ["a0", "a1", "a2", "b0"]


def test_a_client_leaves_places_to_others() -> None:
    requests = Requests(RequestQueue(most=3, most_per_client=2))
    queued = [requests.add(name) for name in ("a0", "a1", "a2", "b0")]
    assert requests.begun == ["a0", "a1", "b0"]
    queued[3].release()
    assert requests.begun == ["a0", "a1", "b0"]
    queued[0].release()
    assert requests.begun == ["a0", "a1", "b0", "a2"]


def test_a_request_that_is_released_early_never_begins_and_a_second_release_frees_no_place() -> None:
    requests = Requests(RequestQueue(most=1, most_per_client=1))
    queued = [requests.add(name) for name in ("a0", "a1", "b0", "c0")]
    queued[1].release()
    queued[0].release()
    queued[0].release()
    assert requests.begun == ["a0", "b0"]
    queued[2].release()
    assert requests.begun == ["a0", "b0", "c0"]
