"""Asks for a transcription with a message, and waits for the message that says how it ended.

    pip install redis
    python3 messages.py https://calls.example/48151.wav crm-48151

REDIS_URL is the address of the Redis server. ../../docs/messages.md describes the fields.
"""

import json
import os
import sys
from typing import Any

import redis

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
REQUESTS, RESULTS, REJECTED = "callscribe:requests", "callscribe:results", "callscribe:rejected"
PATIENCE_MILLISECONDS = 600_000


def main(url: str, external_id: str) -> int:
    server: Any = redis.Redis.from_url(REDIS_URL, decode_responses=True)
    seen = {stream: _last_id(server, stream) for stream in (RESULTS, REJECTED)}  # before the request, to miss nothing
    entry = server.xadd(REQUESTS, {"url": url, "external_id": external_id})
    while found := server.xread(seen, block=PATIENCE_MILLISECONDS):
        for stream, entries in found:
            for entry_id, fields in entries:
                seen[stream] = entry_id
                if stream == REJECTED and fields["entry"] == entry:
                    print(f"refused: {fields['code']}: {fields['detail']}", file=sys.stderr)
                    return 1
                if stream == RESULTS and json.loads(fields["body"])["data"]["external_id"] == external_id:
                    print(fields["type"], fields["body"])
                    return 0 if fields["type"] == "transcription.completed" else 1
    print("no answer", file=sys.stderr)
    return 1


def _last_id(server: Any, stream: str) -> str:
    newest = server.xrevrange(stream, count=1)
    return str(newest[0][0]) if newest else "0"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
