"""The scenario of the door in which the service is killed. It runs beside the others, in a file of its own."""

from pathlib import Path

import pytest

from proofs.door.kills import kills
from tests.proofs.test_door import broken


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_repeated_request_gets_the_text_of_the_job_that_a_kill_interrupted(workspace: Path) -> None:
    figures = await kills(workspace / "door-kills", seconds=60.0, wait_for_leases=False, after_claim_seconds=0.3)
    assert broken(figures) == []
