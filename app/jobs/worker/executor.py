"""The engine and the runner of jobs in one process: models are loaded first, then jobs run.

An engine whose threads have ended cannot be repaired, and only a new process helps. So the executor watches the engine
and fails when it has stopped working.
"""

import asyncio
from dataclasses import dataclass, field

from app.jobs.worker.runner import JobRunner
from app.process.threads import in_daemon_thread
from app.speech.engine import Engine

WATCH_SECONDS = 5.0


@dataclass(frozen=True)
class Executor:
    engine: Engine
    runner: JobRunner
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the models are loaded and jobs begin to run."""

    async def run(self) -> None:
        """Load the models, then run jobs until the runner is drained. Raises if the engine stops working."""
        await asyncio.gather(in_daemon_thread(self.engine.load, "load-models"), self.runner.fitness.try_out())
        self.loaded.set()
        watching = asyncio.create_task(self._watch())
        running = asyncio.create_task(self.runner.run())
        try:
            await asyncio.wait({watching, running}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            await running
        finally:
            watching.cancel()
            running.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if not self.engine.ready:
                raise RuntimeError("the engine stopped working")
