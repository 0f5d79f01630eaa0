"""Chooses the dialect of a connection by its path, its URL and its first frame. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.api.live.dialects.asking import is_field, values_of_texts
from app.api.live.dialects.frames import object_of
from app.api.live.dialects.incoming import Dialect, Frame
from app.api.live.dialects.openai import OpenAIDialect
from app.api.live.dialects.own import TYPES, OwnDialect
from app.api.live.dialects.pcm import SAYS_SOUND, PcmDialect, leg_of
from app.api.live.dialects.twilio import EVENTS, TwilioDialect, is_twilio
from app.errors import FieldError, InvalidRequest
from app.intake.model_names import ModelNames
from app.intake.text_fields import BOOLEANS

REALTIME = "/v1/realtime"
OTHER_NAMES = {"rate": "sample_rate", "sample-rate": "sample_rate"}
NOT_FIELDS = frozenset({"token", "call", "channel", EVENTS, "intent"})
"""Parameters of the URL that say something else than the fields of a call."""
_OPTIONS_OF_OPENAI = frozenset({"deployment", "api-version"})  # of clients for OpenAI's models at Azure


@dataclass(frozen=True, slots=True)
class Handshake:
    """What is known about a connection before its first frame. `session` is a name that no other connection has."""

    path: str
    query: Sequence[tuple[str, str]]
    session: str
    is_beta: bool = False

    @property
    def is_realtime(self) -> bool:
        return self.path.rstrip("/").endswith(REALTIME)


def realtime_dialect(handshake: Handshake, models: ModelNames) -> Dialect:
    """Raises InvalidRequest."""
    texts = [(name, text) for name, text in handshake.query if name not in _OPTIONS_OF_OPENAI]
    from_url = values_of_texts(_fields(texts))
    return OpenAIDialect(from_url, models, handshake.session, is_beta=handshake.is_beta)


def dialect_of(handshake: Handshake, first: Frame) -> Dialect:
    """The dialect of a connection that is not OpenAI's. It has still to read the first frame. Raises InvalidRequest."""
    from_url = values_of_texts(_fields(handshake.query))
    query = dict(handshake.query)
    sends_events = _boolean(EVENTS, query.get(EVENTS))
    leg = leg_of(query.get("call"), query.get("channel"))
    if isinstance(first, str) and first.lstrip().startswith("{"):
        values = object_of(first)
        if values.get("type") in TYPES:
            return OwnDialect(from_url)
        if is_twilio(values):
            return TwilioDialect(from_url, sends_events=sends_events or False)
        if "type" in values and SAYS_SOUND.isdisjoint(from_url):  # rather a mistake than metadata
            return OwnDialect(from_url)
    return PcmDialect(from_url, leg=leg, sends_events=sends_events)


def _fields(query: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """The fields of a call among the parameters of a URL. Raises InvalidRequest for a parameter that is unknown."""
    named = [(OTHER_NAMES.get(name, name), text) for name, text in query if name not in NOT_FIELDS]
    unknown = tuple(FieldError(name, "is not a parameter of this URL") for name, _ in named if not is_field(name))
    if unknown:
        raise InvalidRequest("The URL of the connection is not valid.", errors=unknown[:10])
    return named


def _boolean(name: str, text: str | None) -> bool | None:
    if text is None:
        return None
    value = BOOLEANS.get(text.strip().lower())
    if value is None:
        detail = FieldError(name, "must be true or false")
        raise InvalidRequest("The URL of the connection is not valid.", errors=(detail,))
    return value
