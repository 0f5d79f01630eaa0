"""The example of a report in the OpenAPI document."""

from typing import Any

from app.jobs.views import EXAMPLE_ID

FIGURES: dict[str, Any] = {
    "calls": 412,
    "completed": 401,
    "failed": 8,
    "cancelled": 1,
    "waiting": 2,
    "seconds": 123456.7,
    "mean_seconds": 307.872,
    "talk": {
        "calls": 401,
        "speech_share": 0.71,
        "silence_share": 0.29,
        "holds": 55,
        "calls_with_holds": 41,
        "hold_seconds": 2210.5,
        "interruptions": 388,
        "interruption_calls": 377,
    },
    "agent": {"calls": 377, "talk_share": 0.48, "words_per_minute": 151.2, "median_response_seconds": 0.9},
    "sentiment": {"calls": 250, "positive": 80, "neutral": 120, "negative": 50, "score": 0.12},
    "resolved": {"calls": 240, "yes": 200, "no": 40, "share": 0.8333},
    "intents": {"complaint": 51, "order": 30},
    "categories": {"refund": 31, "long hold": 9},
    "scores": {"quality": {"calls": 250, "points": 1900.0, "possible": 2500.0, "percent": 76.0}},
}
PREVIOUS: dict[str, Any] = FIGURES | {"calls": 398, "completed": 390, "failed": 5, "waiting": 0, "cancelled": 3}
LINK = "/v1/transcriptions?created_after=2026-10-31T23%3A00%3A00Z&created_before=2026-11-28T23%3A00%3A00Z"
TOP: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "value": 312.4,
    "scorecard": None,
    "start": 71.2,
    "turn": 14,
    "agent": "Mary",
    "created_at": "2026-11-21T09:30:00Z",
    "links": {"self": f"/v1/transcriptions/{EXAMPLE_ID}"},
}
EXAMPLE: dict[str, Any] = {
    "from": "2026-11-01",
    "to": "2026-11-28",
    "timezone": "Europe/Berlin",
    "by": "agent",
    "previous": {"from": "2026-10-04", "to": "2026-10-31"},
    "totals": {
        **FIGURES,
        "previous": PREVIOUS,
        "keywords": [{"word": "invoice", "calls": 131, "score": None}],
        "links": {"calls": LINK},
    },
    "groups": [
        {
            **FIGURES,
            "value": "Mary",
            "from": None,
            "to": None,
            "previous": PREVIOUS,
            "keywords": [{"word": "refund", "calls": 31, "score": 48.2}],
            "links": {"calls": f"{LINK}&metadata.agent=Mary"},
        }
    ],
    "groups_left_out": 0,
    "longest_holds": [TOP],
    "most_interrupted": [TOP | {"value": 17.0, "start": 12.0, "turn": 3}],
    "lowest_scores": [TOP | {"value": 35.0, "scorecard": "quality", "start": None, "turn": None}],
    "keywords_from_calls": 401,
}
