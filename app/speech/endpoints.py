"""Models that another server runs: their names here, and where they are. Pure."""

from dataclasses import dataclass, field

ONE_WINDOW = "X-Callscribe-Window"
"""A header that says `true` if a recording is one window of speech, which another Callscribe has cut out of a call.

Then no voice activity is looked for a second time, which would miss some faint speech. Other servers ignore it, as they
do not ignore an unknown field of the form.
"""


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
