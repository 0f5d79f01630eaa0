"""Checks of models: their files, the GPU, and ten seconds of speech on each device that the service would use."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any

from app.cli.doctor.findings import Finding, failed, fine, skipped, warning
from app.cli.doctor.folders import size
from app.cli.doctor.memory import available_bytes
from app.cli.doctor.surroundings import Surroundings
from app.process.tasks import within
from app.speech.families import Families
from app.speech.gpu import Driver, DriverFailed, DriverMissing, Gpu, driver_version
from app.speech.model import DeviceChoice, ModelUnavailable, OnDisk

SPEECH_LIMIT_SECONDS = 300.0
ROOM = 1.2  # times the size of the weights
ROOM_BYTES = 400 * 2**20
SAID = """thank you for calling the green garden store my name is anna how can i help you today i am sorry to hear that
    david could you give me your order number please"""
ENOUGH = 0.7
OLDEST_CUDA = (12, 0)  # CTranslate2's wheel is built with CUDA 12
ON_THE_PROCESSOR = "models run on the processor"


async def gpu(at: Surroundings) -> list[Finding]:
    """Names what a model needs on a GPU: the driver, a GPU that it sees, and cuBLAS."""
    return await asyncio.to_thread(_gpu, at)


def _gpu(at: Surroundings) -> list[Finding]:
    chosen = at.settings.device
    if chosen == "cpu":
        return [fine(f"{ON_THE_PROCESSOR}, because CALLSCRIBE_DEVICE=cpu")]
    try:
        driver = Driver()
        gpus, cuda = driver.gpus(), driver.cuda_version
    except DriverMissing:
        if chosen == "auto":
            return [fine(f"there is no NVIDIA driver, so {ON_THE_PROCESSOR}")]
        advice = "Install the driver, and in a container NVIDIA's container toolkit. Or set CALLSCRIBE_DEVICE=cpu."
        return [failed("CALLSCRIBE_DEVICE=cuda, but NVIDIA's driver cannot be loaded", advice)]
    except DriverFailed as error:
        found = failed if chosen == "cuda" else warning
        advice = "Run nvidia-smi. After an update of the driver, restart the machine."
        return [found(f"the driver works for no GPU: {error}", advice)]
    at.gpus = [gpu.index for gpu in gpus]
    return [_shown(gpu, cuda) for gpu in gpus] + _lacks(at, gpus, cuda)


def _shown(gpu: Gpu, cuda: tuple[int, int]) -> Finding:
    version = driver_version()
    driver = f"driver {version} for" if version else "driver for"
    text = f"{gpu.name}, {size(gpu.memory_mib * 2**20)}, compute capability {gpu.capability}"
    text += f", {driver} CUDA {cuda[0]}.{cuda[1]}"
    facts = {"name": gpu.name, "memory_mib": gpu.memory_mib, "driver": version, "cuda": f"{cuda[0]}.{cuda[1]}"}
    return fine(text, about=str(gpu.index), **facts)


def _lacks(at: Surroundings, gpus: Sequence[Gpu], cuda: tuple[int, int]) -> list[Finding]:
    found = failed if at.settings.device == "cuda" else warning
    if not gpus:
        return [
            found("the driver finds no GPU", "CUDA_VISIBLE_DEVICES may hide it, or the container was not given it.")
        ]
    if cuda < OLDEST_CUDA:
        return [found(f"the driver is for CUDA {cuda[0]}.{cuda[1]}", "Install a driver for CUDA 12 (525) or newer.")]
    choice = DeviceChoice("cuda", at.settings.device_index, at.settings.compute_type)
    try:
        Families(at.settings.remote_models).check(at.settings.models[0], choice)
    except ModelUnavailable as error:
        return [found(str(error), "docs/gpu.md says what a GPU needs.")]
    return []


async def model(at: Surroundings) -> list[Finding]:
    return [await asyncio.to_thread(_files, name, at) for name in at.settings.models]


def _files(name: str, at: Surroundings) -> Finding:
    families = Families(at.settings.remote_models)
    if name in (endpoint.name for endpoint in at.settings.remote_models):
        return _server(name, families)
    try:
        families.check(name, DeviceChoice("cpu"))
        found = families.examine(name, at.settings.models_dir)
    except ModelUnavailable as error:
        return failed(str(error), "Correct CALLSCRIBE_MODEL. `callscribe models` lists the models.", about=name)
    if found is None:
        text = "it is not on this machine: the service downloads it when it starts, from huggingface.co"
        return warning(text, f"Download it now, and see whether that works: callscribe models fetch {name}", about=name)
    if found.damage:
        return failed(found.damage, _mend(name, found), about=name)
    at.models[name] = found
    compared = f"its files have {found.compared_with}" if found.compared_with else "its files were not compared"
    return fine(f"{compared} ({size(found.weights_bytes)})", about=name)


def _server(name: str, families: Families) -> Finding:
    """Sends a few seconds of speech to the server of a remote model."""
    if (trouble := families.trial(name)) is not None:
        advice = "docs/models.md says what each trouble means. Jobs of the model wait until its server can be used."
        return failed(f"its server cannot be used: {trouble}", advice, about=name)
    return fine("its server has transcribed three seconds of speech", about=name)


def _mend(name: str, found: OnDisk) -> str:
    if name in Families().bundled():
        return f"Delete {found.folder}, so that the service makes it again. If it is a package, install that again."
    return f"Fetch it again: callscribe models fetch {name}. If it is your own model, copy it again."


async def speech(at: Surroundings) -> list[Finding]:
    """Models run one after the other, so that they do not slow each other down."""
    if at.quick:
        return [skipped("--quick leaves it out")]
    return [await _timed(at, name, files, index) for name, files in at.models.items() for index in _indexes(at)]


def _indexes(at: Surroundings) -> list[int | None]:
    """The GPUs that the service would use, or None for whatever device it would find."""
    usable = [index for index in at.gpus if index in (at.settings.device_index or at.gpus)]
    return [*usable] or [None]


async def _timed(at: Surroundings, name: str, files: OnDisk, index: int | None) -> Finding:
    about = name if index is None else f"{name} on GPU {index}"
    available, needed = available_bytes(), ROOM * files.weights_bytes + ROOM_BYTES
    if available is not None and available < needed:
        text = f"it was not loaded, because {size(available)} of memory are free and it may need {size(needed)}"
        return warning(text, "If the service does not run, give this machine or container more memory.", about=about)
    settings = at.settings
    request = {
        "model": name,
        "models_dir": str(settings.models_dir.absolute()),
        "device": settings.device,
        "index": index,
        "compute_type": settings.compute_type,
        "batch_size": settings.batch_size,
        "beam_size": settings.beam_size,
        "weights_bytes": files.weights_bytes,
    }
    program = [sys.executable, "-m", "app.cli.doctor.speech", json.dumps(request)]
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await within(SPEECH_LIMIT_SECONDS, process.communicate())
    except TimeoutError:
        return failed(f"it took more than {SPEECH_LIMIT_SECONDS:.0f} s", "Use a smaller model or a GPU.", about=about)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _judged(about, process.returncode, output, errors)


def _judged(about: str, status: int | None, output: bytes, errors: bytes) -> Finding:
    if status != 0 or not output:
        return _ended(about, status, errors)
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    if "error" in answer:
        return failed(answer["error"], "docs/gpu.md says what a GPU needs.", about=about)
    if "lack" in answer:
        text = f"it was not loaded, because {answer['lack']}"
        return warning(text, "Beside a running service this is expected: stop the service to measure.", about=about)
    text, speed = answer.pop("text"), answer["audio_seconds"] / max(answer["seconds"], 1e-3)
    where = f"on {answer['device']} as {answer['compute_type']}"
    memory = f", {answer['gpu_mib']:,} MiB of the GPU" if answer["gpu_mib"] else ""
    said = (
        f"{answer['audio_seconds']:.1f} s of speech took {answer['seconds']:.2f} s {where}: {speed:.1f} times real "
        f"time. Loading took {answer['load_seconds']:.1f} s and {answer['memory_mib']:,} MiB of memory{memory}"
    )
    facts = {**answer, "realtime_factor": round(speed, 2), "heard": round(_heard(text), 2)}
    if facts["heard"] < ENOUGH:
        advice = (
            "A model for another language does that. Otherwise this device computes wrongly, or the model is broken."
        )
        return warning(
            f"{said}. But it has {facts['heard']:.0%} of the words of the English recording",
            advice,
            about=about,
            **facts,
        )
    if speed < 1:
        return warning(f"{said}. Calls come in faster than that", "Use a smaller model or a GPU.", about=about, **facts)
    return fine(said, about=about, **facts)


def _ended(about: str, status: int | None, errors: bytes) -> Finding:
    if status is not None and status < 0:
        name = signal.Signals(-status).name
        advice = (
            "It may need more memory than there is." if name == "SIGKILL" else "docs/gpu.md describes a proof for GPUs."
        )
        return failed(f"its process was ended by {name}", advice, about=about)
    last = (errors.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    return failed(f"its process failed: {last[:300]}", "Report this (CONTRIBUTING.md).", about=about)


def _heard(text: str) -> float:
    """The part of the words of the recording that the model wrote."""
    wanted, found = SAID.split(), set(re.findall(r"\w+", text.lower()))
    return sum(word in found for word in wanted) / len(wanted)
