"""The command itself: on a healthy machine, beside a running service, and with secrets that must not be shown."""

import json
import re
from pathlib import Path

import pytest

from app.cli.doctor.examining import CHECKS
from app.cli.doctor.secrets import mask_for
from app.database import postmaster
from testing.command_line import run_command
from testing.ports import free_ports
from testing.service import Service, callscribe

SECRETS = (
    "key-of-crm",
    "p%40ss-of-postgres",
    "p@ss-of-postgres",
    "redis-secret",
    "aws-secret",
    "whsec_c2VjcmV0LW9mLXdlYmhvb2tzLXNlY3JldC1vZi13ZWJob29rcw==",
)


def test_a_healthy_machine_beside_its_running_service(service: Service) -> None:
    done = callscribe("doctor", "--json", folder=service.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    found = {row["check"]: row for row in report["checks"]}
    assert {row["status"] for row in report["checks"]} <= {"ok", "warning"}
    assert found["database"]["text"].startswith("PostgreSQL 18")
    assert "which the service runs" in found["database"]["text"]
    assert found["worker"]["text"].startswith("the service runs on one machine")
    assert found["audio store"]["text"].endswith("was written, read and deleted from")
    assert found["speech"]["about"] == "base"
    assert found["speech"]["facts"]["heard"] > 0.9
    assert found["speech"]["facts"]["realtime_factor"] > 0
    assert report["machine"]["version"]
    assert service.client.get("/readyz").status_code == 200
    assert "does not run; it is started again" not in service.log()


def test_the_embedded_database_is_started_for_the_check_and_stopped_again(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    new = callscribe("doctor", "--quick", "--only", "schema", folder=folder)
    assert new.returncode == 0, new.stdout
    assert not (folder / "postgres").exists()

    callscribe("webhooks", "secret", folder=folder)
    done = callscribe("doctor", "--quick", "--only", "schema", folder=folder)
    assert done.returncode == 0, done.stdout
    assert "embedded, which was started for this check only" in done.stdout
    lock = postmaster.try_lock(folder / "postgres.running")
    assert lock is not None
    lock.close()

    (folder / "postgres" / "PG_VERSION").write_text("17\n")
    broken = callscribe("doctor", "--quick", "--only", "database", folder=folder)
    assert broken.returncode == 1
    assert "is of PostgreSQL 17; this version needs 18" in broken.stdout


def test_no_secret_is_shown_whatever_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = free_ports(3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "aws-access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{three}")
    done = callscribe(
        *("doctor", "--quick"),
        folder=tmp_path,
        API_KEYS="crm:key-of-crm",
        DATABASE_URL=f"postgresql://calls:p%40ss-of-postgres@127.0.0.1:{one}/calls",
        REDIS_URL=f"redis://:redis-secret@127.0.0.1:{two}",
        STORE_URL="s3://calls",
        WEBHOOK_SECRET="whsec_c2VjcmV0LW9mLXdlYmhvb2tzLXNlY3JldC1vZi13ZWJob29rcw==",
    )
    assert done.returncode == 1
    assert "3 failed" in done.stdout.splitlines()[-1]
    assert [secret for secret in SECRETS if secret in done.stdout + done.stderr] == []


def test_a_wrong_setting_is_a_finding_and_hides_its_secret(tmp_path: Path) -> None:
    url = "postgresql://calls:p%40ss-of-postgres@host/calls?nonsense=1"
    done = callscribe("doctor", "--quick", folder=tmp_path, DATABASE_URL=url)
    assert done.returncode == 1
    assert "failed   settings: CALLSCRIBE_DATABASE_URL: has the parameter nonsense" in done.stdout
    assert "ok       decoder" in done.stdout
    assert "skipped  database: it needs what the check `settings` shows" in done.stdout
    assert "p%40ss" not in done.stdout


def test_an_unknown_check_is_refused(tmp_path: Path) -> None:
    refused = run_command("doctor", "--only", "everything", folder=tmp_path)
    assert refused.returncode == 2
    assert "is none of settings, " in " ".join(refused.stderr.split())


def test_texts_of_others_lose_secrets_logins_and_the_home_folder() -> None:
    mask = mask_for(
        {
            "HOME": "/home/anna",
            "CALLSCRIBE_API_KEYS": "crm:first-key,phone:second-key",
            "CALLSCRIBE_DATABASE_URL": "postgresql://user:p%40ss@host/db",
            "AWS_SECRET_ACCESS_KEY": "aws-secret",
        }
    )
    said = "first-key second-key p@ss aws-secret http://me:mine@host /home/anna/data, crm and db"
    assert mask(said) == "[hidden] [hidden] [hidden] [hidden] http://[hidden]@host ~/data, crm and db"


def test_the_page_lists_every_check() -> None:
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()
    rows = re.findall(r"^\| `([\w ]+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(check.name for check in CHECKS)
    named = {name for check in CHECKS for name in (*check.needs, *check.uses)}
    assert named <= set(rows)
