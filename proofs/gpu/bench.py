"""A step with the contenders of `make bench`, on the GPU instead of the processor."""

import os
from collections.abc import Iterator
from dataclasses import asdict

from proofs.bench.compose import simple_sounds  # the sounds of make bench need speech that is installed for tests only
from proofs.bench.race import ContenderFailed, Race
from proofs.bench.results import Entry, Measured, rows
from proofs.gpu.plan import Plan, Result

# The limit (e) is not among them, because it joins encodings as arrays. The step `batches` gives the limit of a GPU.
ENTRIES = (
    Entry("c", "our engine, all calls at the same time", "engine", hears_sounds=True),
    Entry("b", "BatchedInferencePipeline, file after file", "batched", hears_sounds=True),
    Entry("a", "faster-whisper transcribe, file after file", "transcribe", hears_sounds=True),
    Entry("d", "our service over HTTP, all calls at the same time", "service", hears_sounds=True),
)

WORDLESS_SECONDS = 15


def contenders(plan: Plan) -> Iterator[Result]:
    """Runs the contenders. Each result holds all rows so far, because the ratios need contender (a)."""
    os.environ.update(BENCH_MODEL=plan.model, BENCH_DEVICE=plan.device)
    calls = plan.calls()
    race = Race(plan.folder, calls, simple_sounds(plan.folder, WORDLESS_SECONDS), (len(calls),))
    measured: list[Measured] = []
    for entry in ENTRIES:
        try:
            measured += race.run(entry)
        except ContenderFailed as error:
            yield {"failed": f"{entry.letter}: {error}"}
        else:
            yield {"rows": [asdict(row) for row in rows(measured, calls, race.wordless)]}
