"""The folder of an installed package, and the SHA-256 of a file."""

import json
from pathlib import Path

import pytest

from app.process.package_files import package_folder, sha256_of


def test_a_package_is_found_in_its_folder() -> None:
    assert package_folder("json") == Path(json.__file__).parent


def test_a_package_that_is_not_installed_has_no_folder() -> None:
    assert package_folder("a_wheel_that_is_not_installed") is None


def test_the_sha256_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    assert sha256_of(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


def test_a_file_that_is_missing_has_no_sha256(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "weights")
