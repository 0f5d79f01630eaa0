"""Models behind OpenAI-compatible addresses as a family. Its libraries are imported only when they are needed."""

from collections.abc import Sequence
from pathlib import Path

from app.speech.endpoints import Endpoint
from app.speech.model import REMOTE, Abilities, Device, DeviceChoice, LoadedText, OnDisk


class RemoteFamily:
    """The models that `CALLSCRIBE_MODEL` names with an address. A `Family`.

    `languages` are those that Whisper can detect and time, because nobody asks the server which ones it knows.
    """

    def __init__(self, endpoints: Sequence[Endpoint], languages: Sequence[str]) -> None:
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._languages = tuple(languages)

    def serves(self, name: str) -> bool:
        return name in self._endpoints

    def abilities(self, name: str) -> Abilities:
        return Abilities("remote", self._languages, translates=False)

    def check(self, name: str, choice: DeviceChoice) -> None:
        pass  # its server may be away now and answer later

    def trial(self, name: str) -> str | None:
        """Sends a few seconds of speech. Returns why the server cannot be used, or None if it answers. Blocks."""
        import asyncio

        from app.speech.remote.client import trial

        return asyncio.run(trial(self._endpoints[name]))

    def load(self, name: str, models_dir: Path, choice: DeviceChoice) -> LoadedText:
        from app.speech.remote.model import RemoteModel

        endpoint = self._endpoints[name]
        model = RemoteModel(endpoint, self._languages)
        model.start()
        device = Device(REMOTE, (), endpoint.concurrency, "remote", 1)
        return LoadedText(model, device, model.trouble, model.close)

    def bundled(self) -> Sequence[str]:
        return ()

    def downloaded(self, models_dir: Path) -> Sequence[str]:
        return ()

    def locate(self, name: str, models_dir: Path) -> Path | None:
        return None

    def examine(self, name: str, models_dir: Path) -> OnDisk | None:
        return None

    def fetch(self, name: str, models_dir: Path) -> Path:
        raise AssertionError("a model of another server has no files here")
