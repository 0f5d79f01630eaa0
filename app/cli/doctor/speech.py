"""Loads one model on one device and times ten seconds of speech: `python -m app.cli.doctor.speech REQUEST`.

It is a process of its own, because a GPU that fails may end the process, and so that a model that needs more memory
than there is ends this process and not the service: the kernel ends it first. It prints one line of JSON.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.audio.decode import decode
from app.audio.known_speech import SPEECH
from app.audio.pcm import PcmFile
from app.cli.leaving import leave
from app.errors import GpuOutOfMemory
from app.speech.engine import Engine, EngineConfig
from app.speech.families import Families
from app.speech.gpu import Driver, DriverFailed
from app.speech.model import DeviceLost, ModelUnavailable
from app.transcripts.transcript import Options

FIRST_TO_END = "1000"  # the OOM score
NICENESS = 5  # the service's own work comes first
LONG_SECONDS = 5.0
ROOM_MIB = 1024  # of a GPU, besides the weights


async def timed(request: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what was measured, or `lack` if the model was not loaded so that others keep their memory."""
    name, index = request["model"], request["index"]
    free = _free_mib(index)
    if free is not None and free < request["weights_bytes"] / 2**20 + ROOM_MIB:
        return {"lack": f"the GPU has only {free:,.0f} MiB free"}
    engine = Engine(
        EngineConfig(
            models=(name,),
            models_dir=Path(request["models_dir"]),
            device=request["device"],
            device_index=() if index is None else (index,),
            compute_type=request["compute_type"],
            batch_size=request["batch_size"],
            beam_size=request["beam_size"],
        )
    )
    began = time.monotonic()
    await asyncio.to_thread(engine.load)
    loaded = time.monotonic() - began
    with tempfile.TemporaryDirectory(prefix="callscribe-doctor-") as folder:
        audio = await decode(SPEECH, Path(folder), split=False, max_seconds=60)
        seconds, text = await _transcribe(engine, name, audio.channels)
        if seconds < LONG_SECONDS:  # the first time may load programs of the GPU
            seconds, text = await _transcribe(engine, name, audio.channels)
    device, left = engine.devices[name], _free_mib(index)
    return {
        "device": device.kind,
        "compute_type": device.compute_type,
        "threads": device.threads,
        "batch_size": request["batch_size"] or device.batch_size,
        "load_seconds": round(loaded, 2),
        "audio_seconds": round(audio.duration_seconds, 2),
        "seconds": round(seconds, 3),
        "text": text,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "gpu_mib": None if free is None or left is None else round(free - left),
    }


async def _transcribe(engine: Engine, name: str, channels: tuple[PcmFile, ...]) -> tuple[float, str]:
    options = Options(model=name, language="en" if "en" in Families().abilities(name).languages else None)
    began = time.monotonic()
    transcript = await engine.transcribe(channels, options, lambda _: None)
    return time.monotonic() - began, transcript.text


def _free_mib(index: int | None) -> float | None:
    try:
        return None if index is None else Driver().free_mib(index)
    except DriverFailed:
        return None


def main() -> None:
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_END)
    os.nice(NICENESS)
    try:
        answer = asyncio.run(timed(json.loads(sys.argv[1])))
    except (ModelUnavailable, GpuOutOfMemory, DeviceLost, OSError, MemoryError) as error:
        answer = {"error": str(error) or type(error).__name__}
    print(json.dumps(answer), flush=True)  # noqa: T201  it is the answer to the process that started this one
    leave(0)


if __name__ == "__main__":
    main()
