"""What the batcher knows of its work: jobs, their sources, and the items that sources give."""

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeVar

from app.process.places import Rank


class Job(Hashable, Protocol):
    """All work for one recording."""

    @property
    def rank(self) -> Rank: ...

    @property
    def ended(self) -> bool:
        """Whether the job is done, has failed or was cancelled. The batcher drops all work of such jobs."""

    def fail(self, error: Exception) -> None:
        """Ends the job with an error, unless it has ended."""


class OfJob(Protocol):
    """Anything that belongs to a job."""

    @property
    def job(self) -> Job: ...


class Item(OfJob, Protocol):
    """What is recognized in batches, such as a window. Items of one `kind` may be in the same batch."""

    @property
    def kind(self) -> Hashable: ...

    @property
    def hurries(self) -> Callable[[], bool] | None:
        """Returns whether a reader waits for this item now, so that it should not wait until a batch is full.

        None if no reader waits for the items of its job.
        """

    @property
    def again(self) -> bool:
        """Whether the item was recognized before, without success."""


ItemT_co = TypeVar("ItemT_co", bound=Item, covariant=True)


class Source(OfJob, Protocol[ItemT_co]):
    """A part of a job that gives items, a few at a time, such as a channel that is read."""

    @property
    def exhausted(self) -> bool:
        """Whether the source has given all its items."""

    def advance(self) -> Sequence[ItemT_co]:
        """Does one step of work. Returns the items that it gave, perhaps none."""
