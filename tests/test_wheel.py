"""The wheel is complete: the service that is installed from it starts and transcribes without the source tree.

The wheel is built from the source distribution, as package indexes do it, so both are tested.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from testing.hearing import FEW, missed
from testing.recordings import call, said
from testing.service import serving

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


def run(*command: str | Path, folder: Path) -> str:
    """Run the command in `folder`, without PYTHONPATH. Returns its standard output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def build(target: str, source: Path, folder: Path) -> Path:
    """Build with hatchling, which needs no network. Returns the file that it wrote."""
    run(sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder, folder=source)
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    archive = build("sdist", ROOT, folder / "sdist")
    run("tar", "-xzf", archive, folder=folder)  # `tarfile` has other safe ways in each version of Python
    return build("wheel", folder / archive.name.removesuffix(".tar.gz"), folder / "wheel")


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment that has the wheel and uses the dependencies of this environment.

    The project's source must not be found there. A .pth file in this environment's packages leads to it, but Python
    does not read the .pth files of a folder that another .pth file names.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder)
    python = folder / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder))
    dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "dependencies.pth").write_text("\n".join(sorted(dependencies)))
    install = ("install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--force-reinstall")
    run(sys.executable, "-m", "pip", "--python", python, *install, wheel, folder=folder)
    return folder / "bin"


def test_the_installed_service_finishes_a_job(programs: Path, tmp_path: Path) -> None:
    package = run(programs / "python", "-c", "import app; print(app.__file__)", folder=tmp_path)
    assert Path(package).is_relative_to(programs.parent)

    with serving(tmp_path / "data", program=[str(programs / "callscribe")]) as service:
        page = service.client.get("/")
        job = service.ended(service.create(call(0, 6.2)))
        transcript = service.read(job["links"]["transcript"])

    assert page.status_code == 200
    assert job["status"] == "completed"
    assert missed(said(0, 6.2), transcript["text"]) <= FEW


def test_the_wheel_has_every_file_of_the_package(programs: Path) -> None:
    [package] = programs.parent.glob("lib/python*/site-packages/app")
    installed = {path.relative_to(package) for path in package.rglob("*") if is_source(path)}
    migrations = ROOT / "alembic"
    sources = {path.relative_to(ROOT / "app") for path in (ROOT / "app").rglob("*") if is_source(path)}
    moved = {
        Path("database/migrations") / path.relative_to(migrations) for path in migrations.rglob("*") if is_source(path)
    }
    assert installed == sources | moved


def is_source(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc"
