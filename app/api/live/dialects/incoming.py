"""What the frames of a live call mean, whatever dialect they are in, and what a dialect can do. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from app.errors import AppError
from app.live.asking import NewCall
from app.live.events import LiveEvent

Frame: TypeAlias = str | bytes


@dataclass(frozen=True, slots=True)
class Auth:
    """A key or token in a frame."""

    key: str


@dataclass(frozen=True, slots=True)
class Start:
    """The call is asked for. Connections of one caller with the same `shared_as` are tracks of one call."""

    call: NewCall
    shared_as: str | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """Sound as it was declared, with its channels interleaved."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class HeardTrack:
    """A piece of one track. `at_seconds` is when it begins, counted from the start of the call, if the client says."""

    channel: int
    raw: bytes
    at_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StillThere:
    """The client sends no sound at the moment, but the call goes on."""


@dataclass(frozen=True, slots=True)
class Warn:
    """Something in the client's frames is wrong, and the call goes on."""

    code: str
    message: str
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Frames that the client gets immediately."""

    frames: Sequence[Frame]


@dataclass(frozen=True, slots=True)
class Settle:
    """The dialect's `settle` is to be called in some seconds, when what was heard before has been recognized."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The client ends the call."""


Incoming: TypeAlias = Auth | Start | Heard | HeardTrack | StillThere | Warn | Answer | Settle | Stop


class Dialect(Protocol):
    """Reads and writes the frames of one connection. It knows no socket and no clock.

    `read` raises AppError for a frame after which the call cannot go on. `refuse` says in the client's words why the
    connection is closed.
    """

    name: str

    def greet(self) -> Sequence[Frame]: ...

    def read(self, frame: Frame) -> Sequence[Incoming]: ...

    def write(self, event: LiveEvent) -> Sequence[Frame]: ...

    def settle(self) -> Sequence[Frame]: ...

    def refuse(self, error: AppError) -> Sequence[Frame]: ...
