"""What Whisper's encoder makes of windows. CTranslate2's type of arrays does not leave this module and `adapter.py`."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import ctranslate2
import numpy as np

ENCODED_PER_SECOND = 50


class Encoded:
    """What the encoder made of windows of one context length."""

    def __init__(self, views: Sequence[ctranslate2.StorageView]) -> None:
        self.views = tuple(views)

    def __add__(self, other: "Encoded") -> "Encoded":
        return Encoded(self.views + other.views)

    def only(self, row: int) -> "Encoded":
        """One window, if the windows were encoded one by one."""
        return Encoded(self.views[row : row + 1])

    @cached_property
    def joined(self) -> ctranslate2.StorageView:
        if len(self.views) == 1:
            return self.views[0]
        return ctranslate2.StorageView.from_array(np.concatenate([np.asarray(view) for view in self.views]))

    def rows(self, indexes: Sequence[int], frames: int | None = None) -> ctranslate2.StorageView:
        """Some of the windows. If `frames` is given, only that number of frames from the start of each."""
        if len(indexes) == self.joined.shape[0] and frames is None:
            return self.joined
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(self._array[list(indexes), :frames]))

    def stretches(self, count: int, seconds: float) -> ctranslate2.StorageView:
        """The first `seconds` of the first window, in `count` equal stretches."""
        frames = int(seconds * ENCODED_PER_SECOND) // count
        array = np.asarray(self.views[0])[0, : count * frames]
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(array.reshape(count, frames, -1)))

    @cached_property
    def _array(self) -> Any:
        on_processor = self.joined.device == "cpu"
        return np.asarray(self.joined if on_processor else self.joined.to_device(ctranslate2.Device.cpu))
