"""Shows that folders, messages, files and recording batches lose nothing: `make pipeline`. See docs/pipeline.md.

This module chooses the scenarios and their sizes. What happens in a scenario is in the module that has its function.
"""

import sys
from functools import partial

from proofs.pipeline.batches import batches
from proofs.pipeline.folder import folder
from proofs.pipeline.folder_batches import folder_batches
from proofs.pipeline.outputs import outputs
from proofs.pipeline.stream import stream
from proofs.play import Scenarios, play

SCENARIOS: Scenarios = {
    "folder": partial(folder, files=300, kills=20, every_seconds=4.0),
    "batches": batches,
    "outputs": partial(outputs, jobs=200, kills=10),
    "stream": partial(stream, messages=2000, kills=15),
    "folder_batches": partial(folder_batches, recordings=300, kills=16, server_kills=3),
}

if __name__ == "__main__":
    sys.exit(play(SCENARIOS, "pipeline", __doc__))
