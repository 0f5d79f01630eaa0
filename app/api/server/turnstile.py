"""Lets requests begin a few at a time, the clients in turn: one that asks thousands of times waits behind itself.

Without it, thousands of requests that are begun together share each beat of the event loop and the queue for database
connections, and everybody waits as long as they do. It knows clients by any name, and no HTTP.
"""

from collections.abc import Callable, Hashable


class Pass:
    """The right of one request to be at work. `begin` is called when it is its turn."""

    def __init__(self, turnstile: "Turnstile", client: Hashable, begin: Callable[[], None]) -> None:
        self._turnstile = turnstile
        self.client = client
        self.begin = begin
        self.inside = False

    def leave(self) -> None:
        """Its request has ended, waits for something else, or is not wanted any more. May be called again."""
        self._turnstile.leave(self)


class Turnstile:
    """Up to `most` requests are at work, up to `most_of_a_client` of one client."""

    def __init__(self, most: int, most_of_a_client: int) -> None:
        self._most = most
        self._most_of_a_client = most_of_a_client
        self._at_work = 0
        self._inside: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, dict[Pass, None]] = {}  # in the order of the clients' turns

    def enter(self, client: Hashable, begin: Callable[[], None]) -> Pass:
        """Calls `begin` when it is the request's turn, which may be immediately."""
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
        """The first request of the first client that may have one more at work."""
        waiting = self._waiting.items()
        return next(
            (next(iter(queue)) for client, queue in waiting if self._inside.get(client, 0) < self._most_of_a_client),
            None,
        )

    def _take(self, entering: Pass) -> None:
        """Out of its queue, and its client to the end of the clients."""
        queue = self._waiting.pop(entering.client)
        del queue[entering]
        if queue:
            self._waiting[entering.client] = queue


def _nothing() -> None:
    pass
