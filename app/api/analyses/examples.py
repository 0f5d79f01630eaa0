"""The examples of analyses in the OpenAPI document."""

from typing import Any

from app.api.analyses import report_example
from app.jobs.views import EXAMPLE_ID

PENDING: dict[str, Any] = {
    "transcription_id": EXAMPLE_ID,
    "status": "pending",
    "attempts": 0,
    "summary": None,
    "reason": None,
    "outcome": None,
    "resolved": None,
    "intent": None,
    "sentiment": None,
    "action_items": None,
    "keywords": None,
    "answers": None,
    "categories": None,
    "scores": None,
    "dropped": 0,
    "model": None,
    "prompt_version": None,
    "language": None,
    "tokens": 0,
    "error": None,
    "retry": None,
    "created_at": "2026-11-21T09:30:03.4Z",
    "started_at": None,
    "completed_at": None,
}
GREETING: dict[str, Any] = {
    "question": "Does the agent greet the customer?",
    "by": "category",
    "weight": 2.0,
    "expected": True,
    "value": True,
    "points": 2.0,
    "possible": 2.0,
    "not_applicable": False,
    "not_sure": False,
    "evidence": [{"turn": 1, "start": 0.4}],
}
SOLVED: dict[str, Any] = {
    **GREETING,
    "question": "Did the agent solve the problem?",
    "by": "model",
    "weight": 3.0,
    "points": 3.0,
    "possible": 3.0,
    "evidence": [{"turn": 9, "start": 61.7}],
}
NOT_SOLVED_YET: dict[str, Any] = {**SOLVED, "value": None, "points": None, "possible": None, "evidence": []}
CATEGORIES: list[dict[str, Any]] = [
    {
        "name": "greeting",
        "sure": True,
        "matches": [
            {
                "condition": "any_of",
                "turn": 1,
                "start": 0.4,
                "end": 2.9,
                "text": "good morning",
                "score": 1.0,
                "value": None,
            }
        ],
    }
]
SCORES: list[dict[str, Any]] = [{"scorecard": "quality", "points": 5.0, "possible": 5.0, "answers": [GREETING, SOLVED]}]
COMPLETED: dict[str, Any] = PENDING | {
    "status": "completed",
    "attempts": 1,
    "summary": {"text": "The customer's order has not arrived. The agent sends it again.", "turns": [2, 9]},
    "reason": {"text": "An order has not arrived.", "turns": [2]},
    "outcome": {"text": "The order is sent again without cost.", "turns": [9]},
    "resolved": {"value": True, "turns": [9, 10]},
    "intent": {"value": "complaint", "turns": [2]},
    "sentiment": {
        "turns": [{"turn": 2, "value": "negative"}, {"turn": 10, "value": "positive"}],
        "sides": [
            {
                "speaker": "customer",
                "turns": 2,
                "shares": {"positive": 0.5, "neutral": 0.0, "negative": 0.5},
                "quarters": [-1.0, None, None, 1.0],
            }
        ],
    },
    "action_items": [{"text": "The agent sends the order again today.", "turns": [9]}],
    "keywords": ["order", "refund"],
    "answers": [{"question": SOLVED["question"], "value": True, "turns": [9]}],
    "categories": CATEGORIES,
    "scores": SCORES,
    "dropped": 1,
    "model": "qwen2.5-14b-instruct",
    "prompt_version": "3f1c9a0b77d2",
    "language": "en",
    "tokens": 1843,
    "started_at": "2026-11-21T09:30:03.5Z",
    "completed_at": "2026-11-21T09:30:09.1Z",
}
WAITING: dict[str, Any] = PENDING | {
    "attempts": 2,
    "categories": CATEGORIES,
    "scores": [{"scorecard": "quality", "points": 2.0, "possible": 2.0, "answers": [GREETING, NOT_SOLVED_YET]}],
    "retry": {
        "code": "judgement_unavailable",
        "message": "The server of the language model answered 503.",
        "at": "2026-11-21T09:32:40Z",
    },
    "started_at": "2026-11-21T09:30:03.5Z",
}
EXAMPLES = {
    "Analysis": COMPLETED,
    "AnalysisAsked": PENDING,
    "AnalysisWaiting": WAITING,
    "Report": report_example.EXAMPLE,
}


def _content(*names: str) -> dict[str, Any]:
    return {
        "application/json": {"examples": {name.lower(): {"$ref": f"#/components/examples/{name}"} for name in names}}
    }


READ: dict[str, Any] = {
    "description": "The analysis as it is now.",
    "headers": {
        "Retry-After": {
            "description": "The number of seconds after which you should ask again. The header is missing if the "
            "status is `completed` or `failed`.",
            "schema": {"type": "integer"},
        }
    },
    "content": _content("Analysis", "AnalysisWaiting"),
}
ASKED: dict[str, Any] = {
    "description": "The analysis, which waits or runs.",
    "headers": {"Location": {"description": "The path of the analysis.", "schema": {"type": "string"}}},
    "content": _content("AnalysisAsked"),
}


def answer(description: str, example: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}
