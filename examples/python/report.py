"""Prints a report over the calls of some days: how many, how long, which mood, which words, and each agent's figures.

    python3 report.py 2026-11-01 2026-11-28

Without days, the report has the last thirty. It needs Python 3.11 and nothing else, and a key with the scope `read`.
../README.md describes the environment variables.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

API_URL = os.environ.get("API_URL", "http://127.0.0.1:8000").rstrip("/")
API_KEY = os.environ.get("API_KEY", "")


def read(path: str, **parameters: str) -> dict[str, Any]:
    authorization = {"Authorization": f"Bearer {API_KEY}"} if API_KEY else {}
    request = urllib.request.Request(f"{API_URL}{path}?{urllib.parse.urlencode(parameters)}", headers=authorization)
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: dict[str, Any] = json.load(answer)
        return content


def minutes(seconds: float | None) -> str:
    return "-" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.0f} %"


def of(calls: int, judged: int) -> str:
    """A number of calls, and its share of those that were judged."""
    return f"{calls} ({percent(calls / judged)})" if judged else str(calls)


def text(report: dict[str, Any]) -> str:
    totals = report["totals"]
    previous, sentiment = totals["previous"], totals["sentiment"]
    judged = sentiment["calls"]
    moods = [f"{mood} {of(sentiment[mood], judged)}" for mood in ("positive", "neutral", "negative")]
    lines = [
        f"Calls from {report['from']} to {report['to']}",
        f"  calls         {totals['calls']} (before: {previous['calls']}), of which {totals['failed']} failed",
        f"  mean length   {minutes(totals['mean_seconds'])}",
        f"  sentiment     of {judged} judged calls: {', '.join(moods)}",
        f"  resolved      {percent(totals['resolved']['share'])} of {totals['resolved']['calls']} judged calls",
        "  keywords      " + ", ".join(f"{each['word']} ({each['calls']})" for each in totals["keywords"]),
        "  intents       " + ", ".join(f"{name} ({calls})" for name, calls in totals["intents"].items()),
        "  categories    " + ", ".join(f"{name} ({calls})" for name, calls in totals["categories"].items()),
        "Agents",
    ]
    for agent in report["groups"]:
        scores = ", ".join(f"{name} {score['percent']} %" for name, score in agent["scores"].items())
        lines.append(
            f"  {agent['value'] or '(no agent)'}: {agent['calls']} calls, mean {minutes(agent['mean_seconds'])}, "
            f"speaks {percent(agent['agent']['talk_share'])} of the time"
            + (f", {scores}" if scores else "")
            + "".join(f", {each['word']}" for each in agent["keywords"][:3])
        )
    return "\n".join(lines)


def main() -> int:
    days = dict(zip(("from", "to"), sys.argv[1:], strict=False))
    try:
        print(text(read("/v1/reports", by="agent", **days)))
    except urllib.error.HTTPError as error:
        print(f"The service refused the request: {error.read().decode()}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The service cannot be reached: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
