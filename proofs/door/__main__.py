"""Shows that the OpenAI-shaped door keeps what it promises to its clients: `make door`. See docs/bench.md.

This module chooses the scenarios and their sizes. What happens in a scenario is in the module that has its function.
"""

import sys
from functools import partial

from proofs.door.crowd import at_work, waiting
from proofs.door.giving_up import hang_ups, kept, repeats
from proofs.door.kills import kills
from proofs.door.latency import ends, first_words
from proofs.door.same_text import same_text
from proofs.play import Scenarios, play

SCENARIOS: Scenarios = {
    "waiting": partial(waiting, clients=200, seconds=15.0),
    "at-work": partial(at_work, clients=200),
    "ends": partial(ends, rounds=8),
    "first-words": partial(first_words, seconds=240.0),
    "hang-ups": partial(hang_ups, seconds=3600.0),
    "kept": kept,
    "repeats": partial(repeats, timeout_seconds=8.0),
    "kills": partial(kills, seconds=240.0),
    "same-text": same_text,
}


if __name__ == "__main__":
    sys.exit(play(SCENARIOS, "door", __doc__))
