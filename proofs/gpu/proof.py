"""The steps of the proof, in the order of what matters most, because the time may not suffice for all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp

from app.speech.whisper import gpu_table
from proofs.bench.results import Row
from proofs.bench.table import table
from proofs.gpu.decisions import Speed, best, refreshed
from proofs.gpu.machine import Machine
from proofs.gpu.plan import Plan, Result
from proofs.gpu.runner import Runner

COPIES = 4  # of each call, so that batches of 64 are full
THREADS = (2, 3)
OTHER_TYPES = ("int8_float16", "float32")
ALLOCATOR = {"CT2_CUDA_ALLOCATOR": "cub_caching", "CT2_CUDA_CACHING_ALLOCATOR_CONFIG": "4,3,12,6291456000"}


@dataclass
class Proof:
    """`machine` is None on the processor, which only shows that the steps run."""

    runner: Runner
    plan: Plan
    machine: Machine | None
    quick: bool
    width: int = 0

    def run(self) -> list[Speed]:
        if not self._whole_path():
            return []
        if self.machine:
            self.runner.run("speed", "The processor, whose text is compared with", self._on_processor())
        self._speed("The engine as the service runs it", self.plan)
        sizes = self.runner.run("batches", "Batches: encode, recognize and align, one thread", self.plan)
        speeds = [] if self.quick else self._ways()
        self._lack(best_of(speeds, self.plan), sizes)
        self.runner.run("latency", "One call by itself", self.plan)
        self._devices()
        if not self.quick:
            self._contenders()
            self._other_ways(best_of(speeds, self.plan))
        return speeds

    def refreshed(self, speeds: list[Speed]) -> gpu_table.GpuTable | None:
        """The table of decisions with what was measured; None if nothing was."""
        if not self.machine or not self.width:
            return None
        gpu = self.machine.gpus[self.plan.gpu]
        if not (chosen := best(speeds, gpu.memory_mib)):
            return None
        measured: Mapping[str, str | float] = {
            "gpu": gpu.name,
            "memory_gib": round(gpu.memory_mib / 1024, 1),
            "model": Path(self.plan.model).name,
            "x": round(chosen.x, 1),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "ctranslate2": version("ctranslate2"),
        }
        return refreshed(gpu_table.read(), self.width, gpu.memory_mib / 1024, chosen, measured)

    def _whole_path(self) -> bool:
        """Tries each library that may serve as cuBLAS until the whole path runs with one."""
        if not self.machine:
            return self._path_runs("The whole path, on the processor")
        for cublas in self.machine.cublas:
            folder = Path(mkdtemp(dir=self.plan.folder))
            self.runner.environment["LD_LIBRARY_PATH"] = cublas.library_path(folder)
            if self._path_runs(f"The whole path, with {cublas.title}"):
                return True
        print("\nmissing: a cuBLAS that CTranslate2 can use; every library that was found failed, as printed above")
        return False

    def _path_runs(self, title: str) -> bool:
        for result in self.runner.run("path", title, self.plan):
            self.width = result["width"]
            return True
        return False

    def _on_processor(self) -> Plan:
        return replace(self.plan, device="cpu")

    def _speed(self, title: str, plan: Plan, environment: Mapping[str, str] | None = None) -> Result | None:
        copies = COPIES if plan.on_gpu and not self.quick else 1
        results = self.runner.run("speed", title, replace(plan, copies=copies), environment=environment)
        return results[0] if results else None

    def _ways(self) -> list[Speed]:
        """The engine with each size of batches, and then with more threads for the best size."""
        speeds = [self._way(size, 1) for size in self.plan.sizes if size >= 8]
        found = [speed for speed in speeds if speed]
        if self.machine and found:
            size = max(found, key=lambda speed: speed.x).batch_size
            found += [speed for threads in THREADS if (speed := self._way(size, threads))]
        return found

    def _way(self, size: int, threads: int) -> Speed | None:
        title = f"The engine with batches of {size}" + (f" and {threads} threads for each GPU" if threads > 1 else "")
        result = self._speed(title, replace(self.plan, batch_size=size, threads=threads))
        return Speed(size, threads, result["x"], result["GPU MiB"]) if result else None

    def _lack(self, plan: Plan, sizes: list[Result]) -> None:
        title = "A GPU without enough memory"
        fitted = [row for row in sizes if row.get("GPU MiB")]
        if not self.machine:
            self.runner.skip(title, "this step needs a GPU; the processor has no memory of its own")
        elif not fitted:
            self.runner.skip(title, "the step with batches gave no size that fits")
        else:
            largest = max(fitted, key=lambda row: row["batch"])
            plan = replace(plan, batch_size=largest["batch"], needed_mib=largest["GPU MiB"], copies=COPIES)
            self.runner.run("lack", title, plan)

    def _devices(self) -> None:
        title = "Several GPUs"
        if not self.machine or len(self.machine.gpus) < 2:
            self.runner.skip(title, "this machine has one GPU" if self.machine else "this step needs two GPUs")
            return
        for count in range(1, len(self.machine.gpus) + 1):
            self._speed(f"The engine on {count} GPUs", replace(self.plan, indexes=tuple(range(count))))

    def _contenders(self) -> None:
        results = self.runner.run("contenders", "What make bench prints, on this device", self.plan, limit=250)
        for result in results:
            if "failed" in result:
                print(f"failed: {result['failed']}")
        if rows := [result["rows"] for result in results if "rows" in result]:
            print(table([Row(**row) for row in rows[-1]]), flush=True)

    def _other_ways(self, plan: Plan) -> None:
        if self.machine:
            self._speed("The engine with CTranslate2's other allocator", plan, ALLOCATOR)
            for name in OTHER_TYPES:
                self._speed(f"The engine with {name}", replace(plan, compute_type=name))


def best_of(speeds: list[Speed], plan: Plan) -> Plan:
    """The plan with the fastest way; the plan itself if no way was measured."""
    if not speeds:
        return plan
    fastest = max(speeds, key=lambda speed: speed.x)
    return replace(plan, batch_size=fastest.batch_size, threads=fastest.threads)
