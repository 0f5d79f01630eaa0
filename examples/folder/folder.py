"""Gives recordings to a watched folder of Callscribe, and prints their transcripts.

    python3 examples/folder/folder.py INBOX OUTBOX RECORDING… [--option NAME=VALUE]

INBOX is CALLSCRIBE_WATCH, and OUTBOX is CALLSCRIBE_WATCH_OUTPUT. The exit code is 1 if a recording was refused.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.5


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("inbox", type=Path)
    parser.add_argument("outbox", type=Path)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="a field of the request")
    arguments = parser.parse_args()
    options = dict(option.split("=", 1) for option in arguments.option)
    for recording in arguments.recordings:
        give(recording, arguments.inbox, options)
    outcomes = [wait(recording.name, arguments.inbox, arguments.outbox) for recording in arguments.recordings]
    return 0 if all(outcomes) else 1


def give(recording: Path, inbox: Path, options: dict[str, str]) -> None:
    """The side file comes first. The recording gets its name when it is complete, so that it is taken immediately."""
    if options:
        write_whole(inbox / f"{recording.name}.json", json.dumps(options).encode())
    unfinished = inbox / f"{recording.name}.part"
    shutil.copy2(recording, unfinished)
    unfinished.rename(inbox / recording.name)


def write_whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_bytes(content)
    unfinished.rename(path)


def wait(name: str, inbox: Path, outbox: Path) -> bool:
    """Prints the text of a recording, or why there is none. Returns whether there is a text.

    A file appears in the outbox only when it is complete.
    """
    output = outbox / f"{Path(name).stem}.json"
    refused = inbox / ".refused" / f"{name}.error.json"
    while not (output.exists() or refused.exists()):
        time.sleep(POLL_SECONDS)
    if output.exists():
        print(f"{name}: {json.loads(output.read_text())['text'].strip()}")
        return True
    problem = json.loads(refused.read_text())
    print(f"{name}: {problem['code']}: {problem['detail']}", file=sys.stderr)
    return False


if __name__ == "__main__":
    sys.exit(main())
