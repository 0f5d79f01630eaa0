"""A short fuzzing campaign finds no fault, its mutations can be made again, and a trial notices a fault."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.audio import decode
from proofs.fuzz.campaign import mutation
from testing.decoder_trial import attempt
from testing.recordings import tone

KNOWN = {"decoded", "unsupported_media", "no_audio", "bad_media", "too_long"}
USES_UP_ITS_CPU_TIME = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
print('{"contained_by": {}}', flush=True)
while True:
    pass
"""


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


@pytest.mark.parametrize(
    ("decoder", "patience_seconds", "outcome", "fault"),
    [
        ("import time; time.sleep(60)", 3.0, "unavailable", "hangs"),
        (USES_UP_ITS_CPU_TIME, 30.0, "bad_media", "hangs"),  # a busy machine needs longer for a second of CPU time
        ("raise SystemExit(3)", 3.0, "unavailable", "DecoderUnavailable('the decoder failed with exit status 3')"),
    ],
)
async def test_a_decoder_that_hangs_or_fails_is_a_fault(
    decoder: str,
    patience_seconds: float,
    outcome: str,
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program, folder = tmp_path / "program.py", tmp_path / "trial"
    program.write_text(decoder)
    folder.mkdir()
    monkeypatch.setattr(decode, "PROGRAM", program)
    verdict = await attempt(tone(), folder, patience_seconds)
    assert (verdict.outcome, verdict.fault) == (outcome, fault)
