"""A short fuzzing campaign finds no fault, and its mutations can be made again."""

import subprocess
import sys
from pathlib import Path

from proofs.fuzz.campaign import mutation
from testing.recordings import tone

KNOWN = {"decoded", "unsupported_media", "no_audio", "bad_media", "too_long"}


def test_every_mutation_ends_with_a_known_code(tmp_path: Path) -> None:
    """The short form of `make fuzz`, which ends with exit code 1 if it finds a fault."""
    command = [sys.executable, "-m", "proofs.fuzz", "--count", "30", "--seed", "7", "--keep", str(tmp_path / "faults")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    printed = ended.stdout
    assert printed.startswith("30 mutations in ")
    assert {line.split()[0] for line in printed.splitlines() if line.startswith("  ")} <= KNOWN


def test_the_same_seed_and_number_give_the_same_mutation() -> None:
    originals = [tone(), bytes(1000)]
    assert mutation(3, 14, originals) == mutation(3, 14, originals)
    assert len({mutation(3, number, originals) for number in range(20)}) > 10
