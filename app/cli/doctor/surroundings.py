"""What the checks of one run share: the settings, and the database once it has answered."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from app.database.connections import Database
from app.settings import Settings
from app.speech.model import OnDisk


@dataclass
class Surroundings:
    """`opened` closes at the end of the run what a check has opened for later checks.

    `database` is None until the database has answered, and stays None if there is none yet. `models` has
    those whose files are complete, and `gpus` those that the driver sees. `quick` leaves the loading of models out.
    """

    given: Settings | None
    wrong: list[str]
    quick: bool = False
    opened: AsyncExitStack = field(default_factory=AsyncExitStack)
    database: Database | None = None
    models: dict[str, OnDisk] = field(default_factory=dict)
    gpus: list[int] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """For checks that need the settings, which are skipped if one is wrong."""
        assert self.given is not None
        return self.given
