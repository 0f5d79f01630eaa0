"""Models that another server runs: their names here, and where they are. Pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind an OpenAI-compatible API.

    `name` is its name in this service. `url` is the base of the API, such as `https://gpu:8000/v1`, and `model` the
    model's name there. `key` is sent as a bearer token, if there is one.
    """

    name: str
    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    concurrency: int = 8
    timeout_seconds: float = 60.0
