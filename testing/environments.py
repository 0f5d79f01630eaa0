"""Makes Python environments for programs that need other versions of our dependencies."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def environment(folder: Path, packages: Sequence[str]) -> Path | None:
    """Makes an environment with these packages. Returns the folder of its programs, or None if they cannot be had."""
    programs = folder / "bin"
    made = _run(sys.executable, "-m", "venv", "--without-pip", folder)
    assert made, "Python cannot make an environment"
    python, uv = programs / "python", Path(sys.executable).with_name("uv")
    quick = (uv, "pip", "install", "--quiet", "--python", python)
    patient = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")  # pip may know more mirrors
    return programs if any(_run(*command, *packages) for command in (quick, patient)) else None


def _run(*command: str | Path) -> bool:
    return subprocess.run(command, check=False).returncode == 0
