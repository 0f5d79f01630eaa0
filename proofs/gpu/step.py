"""Runs one step in its own process: `python -m proofs.gpu.step NAME PLAN`, where PLAN is JSON.

Each result is printed as JSON as soon as it is there, so a step that is killed leaves the results before that. A step
has its own process, because a GPU that fails may end the process, and because CTranslate2 never frees a model.
"""

import json
import os
import sys
from collections.abc import Mapping

from proofs.gpu import bench, engine, path
from proofs.gpu.plan import Plan, Step

STEPS: Mapping[str, Step] = {
    "path": path.whole_path,
    "batches": path.batches,
    "speed": engine.speed,
    "latency": engine.latency,
    "lack": engine.lack,
    "contenders": bench.contenders,
}


def main() -> None:
    name, plan = sys.argv[1:]
    for result in STEPS[name](Plan.loaded(plan)):
        print(json.dumps(result), flush=True)
    os._exit(0)  # freeing a model in CTranslate2 may crash the process


if __name__ == "__main__":
    main()
