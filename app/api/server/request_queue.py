"""A queue that lets a few requests begin at a time, one of each client in turn.

So a client that sends many requests waits for its own requests, and does not delay other clients. Without the queue,
thousands of requests that begin together would share each pass of the event loop and the queue for database
connections, and every client would wait as long as they do.

It is not built on `FairPlaces`, which serves by priority and arrival, needs a task for each waiting request, and sorts
all of them at each step. Thousands of requests may wait here.
"""

from collections.abc import Callable, Hashable


class QueuedRequest:
    """A request that waits for a place or has one. The queue calls `begin` when the request gets its place."""

    def __init__(self, queue: "RequestQueue", client: Hashable, begin: Callable[[], None]) -> None:
        self._queue = queue
        self.client = client
        self.begin = begin
        self.has_place = False

    def release(self) -> None:
        """Gives the place to another request, or stops waiting for one. May be called again."""
        self._queue.release(self)


class RequestQueue:
    """Gives places to `most` requests at the same time, and to `most_per_client` of one client."""

    def __init__(self, most: int, most_per_client: int) -> None:
        self._most = most
        self._most_per_client = most_per_client
        self._places_taken = 0
        self._taken_by: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, dict[QueuedRequest, None]] = {}  # the client that is served next comes first

    def add(self, client: Hashable, begin: Callable[[], None]) -> QueuedRequest:
        """Queues a request. Calls `begin` when the request gets a place, which may be before `add` returns."""
        request = QueuedRequest(self, client, begin)
        self._waiting.setdefault(client, {})[request] = None
        self._begin_next()
        return request

    def release(self, request: QueuedRequest) -> None:
        if request.has_place:
            request.has_place = False
            self._places_taken -= 1
            self._taken_by[request.client] -= 1
            if not self._taken_by[request.client]:
                del self._taken_by[request.client]
            self._begin_next()
        elif request in self._waiting.get(request.client, {}):
            request.begin = _nothing
            self._remove(request)

    def _begin_next(self) -> None:
        while self._places_taken < self._most and (request := self._next()) is not None:
            self._remove(request)
            request.has_place = True
            self._places_taken += 1
            self._taken_by[request.client] = self._taken_by.get(request.client, 0) + 1
            begin, request.begin = request.begin, _nothing  # so that no cycle of references outlives the request
            begin()

    def _next(self) -> QueuedRequest | None:
        """Returns the first request of the first client that may have one more place, or None if there is none."""
        waiting = self._waiting.items()
        return next(
            (next(iter(queue)) for client, queue in waiting if self._taken_by.get(client, 0) < self._most_per_client),
            None,
        )

    def _remove(self, request: QueuedRequest) -> None:
        """Removes the request from the queue, and moves its client behind the others."""
        queue = self._waiting.pop(request.client)
        del queue[request]
        if queue:
            self._waiting[request.client] = queue


def _nothing() -> None:
    pass
