"""Installs the client libraries of `docs/clients.md` into a folder of their own, because they are heavy.

`python -m testing.client_packages FOLDER` installs them ahead of the tests, and ends with code 3 if this machine has no
Node that can run them. A test that needs them calls `python_client` or `node_clients`, which use that folder if the
variable `CLIENTS` names it, and otherwise install what they need.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testing.environments import environment

PYTHON = (
    "openai==3.57.0",
    "litellm==1.110.2",
    "langchain-community==0.4.2",
    "pydub==0.25.1",
    "imageio-ffmpeg==0.6.0",  # LangChain's parser runs the program ffmpeg
)
NODE = ("openai@6.49.0", "ai@6.0.326", "@ai-sdk/openai@3.0.141")
OLDEST_NODE = 20
NO_PACKAGE = 3
REQUIRED = bool(os.environ.get("NEED_CLIENTS"))  # set by .ci/run, so that CI cannot skip these tests


def python_clients(folder: Path) -> Path:
    """Returns the folder of the programs of an environment with the Python clients and ffmpeg. Skips without them."""
    programs = _installed("python", folder)
    if programs is None:
        assert not REQUIRED, "the Python clients cannot be installed"
        pytest.skip("the Python clients cannot be installed here")
    return programs / "bin"


def node_clients(folder: Path) -> Path:
    """Returns a folder whose programs can import the clients for Node. Skips without them."""
    if not (REQUIRED or has_node()):
        pytest.skip(f"Node {OLDEST_NODE} and npm are not installed")
    programs = _installed("node", folder)
    if programs is None:
        assert not REQUIRED, "the clients for Node cannot be installed"
        pytest.skip("the clients for Node cannot be installed here")
    return programs


def has_node() -> bool:
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"\d+", version)[0]) >= OLDEST_NODE


def _installed(kind: str, folder: Path) -> Path | None:
    ahead = os.environ.get("CLIENTS")
    if ahead:
        return Path(ahead) / kind
    return (_install_python if kind == "python" else _install_node)(folder / kind)


def _install_python(folder: Path) -> Path | None:
    programs = environment(folder, PYTHON)
    if programs is None:
        return None
    found = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"
    ffmpeg = subprocess.run([programs / "python", "-c", found], capture_output=True, text=True, check=True).stdout
    (programs / "ffmpeg").symlink_to(ffmpeg.strip())
    return folder


def _install_node(folder: Path) -> Path | None:
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    quiet = ("--silent", "--no-audit", "--no-fund", "--no-package-lock")
    installed = subprocess.run(["npm", "install", *quiet, *NODE], cwd=folder, check=False)
    return folder if installed.returncode == 0 else None


def main(folder: Path) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    if _install_python(folder / "python") is None:
        return 1
    if not has_node():
        return NO_PACKAGE
    return 0 if _install_node(folder / "node") else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
