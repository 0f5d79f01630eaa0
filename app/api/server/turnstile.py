"""Lets a few requests begin at a time, one client after the other, so that a busy client waits behind itself.

Otherwise thousands of requests that begin together would share each pass of the event loop and the queue for database
connections, and every client would wait as long as they do. It is not built on `FairPlaces`,
because that one serves by priority and arrival, needs a task for each waiting request and sorts all of them at each
step, while thousands of requests may wait here. This module must not know HTTP.
"""

from collections.abc import Callable, Hashable


class Pass:
    """One request's place, or its wait for one. `begin` is called when it gets the place."""

    def __init__(self, turnstile: "Turnstile", client: Hashable, begin: Callable[[], None]) -> None:
        self._turnstile = turnstile
        self.client = client
        self.begin = begin
        self.inside = False

    def leave(self) -> None:
        """The request has ended, waits for its client, or was given up. May be called again."""
        self._turnstile.leave(self)


class Turnstile:
    """Up to `most` requests are at work, up to `most_of_a_client` of one client."""

    def __init__(self, most: int, most_of_a_client: int) -> None:
        self._most = most
        self._most_of_a_client = most_of_a_client
        self._at_work = 0
        self._inside: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, dict[Pass, None]] = {}  # the client that is served next comes first

    def enter(self, client: Hashable, begin: Callable[[], None]) -> Pass:
        """Calls `begin` when the request gets a place, which may be immediately."""
        entering = Pass(self, client, begin)
        self._waiting.setdefault(client, {})[entering] = None
        self._let_in()
        return entering

    def leave(self, leaving: Pass) -> None:
        if leaving.inside:
            leaving.inside = False
            self._at_work -= 1
            self._inside[leaving.client] -= 1
            if not self._inside[leaving.client]:
                del self._inside[leaving.client]
            self._let_in()
        elif leaving in self._waiting.get(leaving.client, {}):
            leaving.begin = _nothing
            self._take(leaving)

    def _let_in(self) -> None:
        while self._at_work < self._most and (entering := self._next()) is not None:
            self._take(entering)
            entering.inside = True
            self._at_work += 1
            self._inside[entering.client] = self._inside.get(entering.client, 0) + 1
            begin, entering.begin = entering.begin, _nothing  # so that no cycle of references outlives the request
            begin()

    def _next(self) -> Pass | None:
        """The first request of the first client that may have one more request at work."""
        waiting = self._waiting.items()
        return next(
            (next(iter(queue)) for client, queue in waiting if self._inside.get(client, 0) < self._most_of_a_client),
            None,
        )

    def _take(self, entering: Pass) -> None:
        """Remove the request from its queue, and move its client behind the others."""
        queue = self._waiting.pop(entering.client)
        del queue[entering]
        if queue:
            self._waiting[entering.client] = queue


def _nothing() -> None:
    pass
