"""What a step needs to know, and what it gives. Steps run in processes of their own, so both travel as JSON."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.speech.model import DeviceChoice
from proofs.bench.calls import Call, load

LISTING = "calls.json"

Result = Mapping[str, Any]
"""One line of a table: numbers, texts, and None for what cannot be measured here."""


@dataclass(frozen=True)
class Plan:
    """`folder` holds the listing of the recordings, and the models.

    If `batch_size` or `threads` is None, the table of decisions gives it. `needed_mib` is the memory of a full batch.
    """

    folder: Path
    model: str
    device: str
    indexes: tuple[int, ...] = ()
    compute_type: str = "auto"
    batch_size: int | None = None
    threads: int | None = None
    sizes: tuple[int, ...] = ()
    copies: int = 1
    needed_mib: float = 0.0

    @property
    def choice(self) -> DeviceChoice:
        return DeviceChoice(self.device, self.indexes, self.compute_type)

    @property
    def models_dir(self) -> Path:
        return self.folder / "models"

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"

    @property
    def gpu(self) -> int:
        """The GPU whose memory is measured."""
        return self.indexes[0] if self.indexes else 0

    def calls(self) -> list[Call]:
        return load(self.folder / LISTING)

    def dumped(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def loaded(cls, text: str) -> "Plan":
        row = json.loads(text)
        lists: dict[str, Sequence[int]] = {name: tuple(row[name]) for name in ("indexes", "sizes")}
        return cls(**{**row, **lists, "folder": Path(row["folder"])})


Step = Callable[[Plan], Iterator[Result]]


def composed(folder: Path) -> list[Call]:
    """Composes the calls of `make bench` in a folder."""
    from proofs.bench.compose import FULL, compose  # their speech is installed for tests only
    from proofs.bench.sources import sentences

    return compose(folder, FULL, sentences()[0])
