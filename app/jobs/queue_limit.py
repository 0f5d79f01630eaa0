"""Decides how many jobs may wait, so that one API key cannot fill the queue. Pure.

Any key may add jobs until three quarters of the places in the queue are taken. The last quarter is divided among the
keys: a key may add jobs to it only while the key has fewer waiting jobs than its reserve. So each key can always have
its reserve waiting, because the last quarter holds the reserves of all keys but one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class QueueLimit:
    """At most `pending` jobs of all `keys` API keys wait."""

    pending: int
    keys: int = 1

    @property
    def open_to_all(self) -> int:
        """While fewer jobs wait, any key may add one."""
        return self.pending if self.keys < 2 else self.pending - self.pending // 4

    @property
    def reserve(self) -> int:
        """A key that holds fewer jobs may add one as long as any place is free."""
        return max(1, (self.pending - self.open_to_all) // max(1, self.keys - 1))

    def admits(self, waiting: int, own: int) -> bool:
        """Whether a key that holds `own` of the `waiting` jobs may add one."""
        return waiting < self.open_to_all or (waiting < self.pending and own < self.reserve)
