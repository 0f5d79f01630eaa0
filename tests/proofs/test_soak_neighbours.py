"""The scenario of the soak in which a key floods the service. It runs beside the others, in a file of its own."""

from pathlib import Path

import pytest

from proofs.bench.work import MODEL
from proofs.soak.neighbours import ADMIN, MODEST, SETTINGS, SETTINGS_OF_TENANTS, neighbours, tenants
from testing.service import serving


@pytest.mark.slow
def test_a_keys_call_is_transcribed_while_another_key_floods_the_service(workspace: Path, tmp_path: Path) -> None:
    with serving(workspace / "neighbours", key=MODEST, MODEL=MODEL, DEVICE="cpu", **SETTINGS) as service:
        figures = neighbours(service, tmp_path, seconds=3, long_seconds=300, calls=18, waiting=30, tries=1)
        running, failed = figures[-2:]
        assert running.value >= 24  # sixteen calls and eight tarpits of the greedy key
        assert failed.kept
        waiting = service.read("/v1/transcriptions?status=pending&limit=100")["items"]
    assert len(waiting) >= 20


@pytest.mark.slow
def test_a_tenants_call_is_transcribed_while_another_tenant_floods_the_service_with_twenty_keys(
    workspace: Path, tmp_path: Path
) -> None:
    with serving(workspace / "tenants", key=ADMIN, MODEL=MODEL, DEVICE="cpu", **SETTINGS_OF_TENANTS) as service:
        figures = neighbours(service, tmp_path, seconds=3, long_seconds=300, calls=22, waiting=30, tries=1, of=tenants)
        running, failed = figures[-2:]
        assert running.value == 24  # sixteen calls and eight tarpits of all keys of the tenant together
        assert failed.kept
