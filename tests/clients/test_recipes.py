"""The examples in Python, JavaScript and shell, in docs/clients.md and README, transcribe a call as they stand."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from testing.client_packages import node_clients, python_clients
from testing.hearing import FEW, missed
from testing.media import as_pcm
from testing.recordings import call, said
from testing.service import Service

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text()
[README] = re.findall(
    r"^### With OpenAI's clients\n.*?(?=^### )", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
)
RUN = {"python": "python3", "js": "node", "sh": "bash"}
WRITTEN = "http://127.0.0.1:8000"
SECONDS = 12.5
# LiteLLM would ask a server for prices. Without the other variable, `make` keeps Python from storing compiled modules.
QUICK = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONDONTWRITEBYTECODE": ""}
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Recipe:
    heading: str
    language: str
    code: str


def recipes() -> dict[str, Recipe]:
    """Returns the examples that call a service, by their heading and place below it."""
    found = {}
    for section in [*re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:], README.removeprefix("### ")]:
        heading = section.splitlines()[0]
        blocks = re.findall(rf"^```({'|'.join(RUN)})\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
        for place, (language, code) in enumerate(blocks):
            if WRITTEN in code:
                found[f"{heading}, {place + 1}"] = Recipe(heading, language, code)
    return found


RECIPES = recipes()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return python_clients(tmp_path_factory.mktemp("python"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return node_clients(tmp_path_factory.mktemp("node"))


def test_the_page_has_recipes_for_all_clients_that_can_be_installed() -> None:
    tested = {recipe.heading for recipe in RECIPES.values()}
    installed = {"openai (Python)", "openai (JavaScript)", "LiteLLM", "LangChain", "Vercel AI SDK"}
    assert tested == installed | {"With OpenAI's clients", "curl"}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_prints_what_was_said(
    service: Service, recipe: Recipe, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, path = tmp_path, os.environ["PATH"]
    if recipe.language == "python":
        path = f"{request.getfixturevalue('python')}:{path}"
    if recipe.language == "js":
        folder = request.getfixturevalue("node")  # where `import` finds the clients
    (folder / "call.wav").write_bytes(as_pcm(call(0.0, SECONDS)))
    program = folder / {"python": "recipe.py", "js": "recipe.mjs", "sh": "recipe.sh"}[recipe.language]
    program.write_text(recipe.code.replace(WRITTEN, service.url).replace('"samples/', f'"{ROOT}/samples/'))
    ran = subprocess.run(
        [RUN[recipe.language], program],
        cwd=folder,
        env=os.environ | {"PATH": path} | QUICK,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert missed(said(0.0, SECONDS), ran.stdout) <= FEW, ran.stdout
