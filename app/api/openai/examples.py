"""The examples of the OpenAPI document: what `answers` makes of a short call of two speakers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.api.openai.answers import ResponseFormat, Wanted, delta_event, done_event, only_text, render, segment_event
from app.api.openai.shapes import Delta
from app.transcripts.transcript import Channel, Segment, Transcript, Word

_SCORES = (0.0, -0.1834, 0.97, 0.0112)
_AGENT = Segment(0, 0, "agent", 0.2, 0.9, "Good morning.", "en", *_SCORES)
_CUSTOMER = Segment(1, 1, "customer", 1.4, 1.9, "Hello.", "en", *_SCORES, (Word(1.4, 1.9, " Hello.", 0.93),))
_CHANNELS = (Channel(0, "agent", "en", 0.98, 0.7), Channel(1, "customer", "en", 0.98, 0.5))
_CALL = Transcript("en", 0.98, 2.6, _CHANNELS, (_AGENT, _CUSTOMER))


def body(form: ResponseFormat) -> str:
    return render(_CALL, Wanted(form, words=True, named=True))


def bodies(*forms: ResponseFormat) -> dict[str, Any]:
    """Examples in JSON, by the names of their formats."""
    return {form.value: {"value": json.loads(body(form))} for form in forms}


def text_alone() -> Any:
    return json.loads(only_text(_CALL))


def streams() -> dict[str, Any]:
    """Examples of a stream of text, and of a stream for `diarized_json`."""
    done, diarized = (done_event(_CALL, Wanted(form, named=True)) for form in _STREAMED)
    return {
        "text": {"value": _stream(delta_event("Good morning."), delta_event(" Hello."), done)},
        "diarized_json": {
            "value": _stream(*_turn(_AGENT, "Good morning.", 1), *_turn(_CUSTOMER, " Hello.", 2), diarized)
        },
    }


_STREAMED = (ResponseFormat.JSON, ResponseFormat.DIARIZED_JSON)


def _turn(segment: Segment, added: str, number: int) -> Sequence[Mapping[str, Any]]:
    whole = segment_event(segment, number, named=True)
    delta: Delta = {**delta_event(added), "segment_id": whole["id"]}
    return delta, whole


def _stream(*events: Mapping[str, Any]) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events)
