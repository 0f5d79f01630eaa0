"""Signatures, verified by the package of Standard Webhooks and by the verifiers in the docs."""

import base64
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from app.database.connections import Database
from app.deliveries import signing, signing_secrets
from tests.deliveries.conftest import SECRET

DOCS = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
EVENT_ID = "01989d2e-8f00-7a41-9d0e-3f5b7c1a2b4d"
BODY = '{"type":"transcription.completed","data":{"external_id":"Ünï"}}'.encode()
OLD = "whsec_" + "b2xk" * 8


def now() -> datetime:
    return datetime.now(UTC)


AT = now()


def signed(at: datetime | None = None) -> dict[str, str]:
    return signing.headers([SECRET, OLD], EVENT_ID, at or now(), BODY)


@pytest.mark.parametrize("secret", [SECRET, OLD])
def test_a_signature_of_either_secret_is_valid_during_a_rotation(secret: str) -> None:
    assert Webhook(secret).verify(BODY, signed())["type"] == "transcription.completed"
    assert signing.verify(secret, signed(), BODY, now())


@pytest.mark.parametrize(
    ("changes", "body", "minutes_old"),
    [
        ({}, BODY + b" ", 0),
        ({"webhook-id": "another"}, BODY, 0),
        ({"webhook-timestamp": str(int(AT.timestamp()) + 60)}, BODY, 0),
        ({"webhook-timestamp": "soon"}, BODY, 0),
        ({"webhook-signature": "v1,AAAA ünï"}, BODY, 0),
        ({"webhook-signature": ""}, BODY, 0),
        ({}, BODY, 6),
    ],
    ids=["body", "id", "time", "no-time", "signature", "no-signature", "old"],
)
def test_a_changed_or_old_event_does_not_verify(changes: dict[str, str], body: bytes, minutes_old: int) -> None:
    headers = signed(AT - timedelta(minutes=minutes_old)) | changes
    assert not signing.verify(SECRET, headers, body, AT)


def test_the_standard_webhooks_package_accepts_new_secrets() -> None:
    secret = signing.new_secret()
    assert signing.key_of(secret) != signing.key_of(signing.new_secret())
    headers = signing.headers([secret], EVENT_ID, now(), BODY)
    assert Webhook(secret).verify(BODY, headers)["type"] == "transcription.completed"


@pytest.mark.parametrize("wrong", ["", "whsec_", "whsec_short", SECRET.removeprefix("whsec_"), "whsec_" + "A" * 100])
def test_an_invalid_secret_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes") as refused:
        signing.key_of(wrong)
    assert not wrong.removeprefix("whsec_") or wrong not in str(refused.value)


async def test_a_secret_is_made_once_and_stays_valid_after_its_rotation(database: Database) -> None:
    async with database.transaction() as session:
        await signing_secrets.ensure(session)
        [first] = await signing_secrets.valid(session)
        await signing_secrets.ensure(session)
        assert await signing_secrets.valid(session) == [first]
    async with database.transaction() as session:
        second = await signing_secrets.rotate(session)
        assert await signing_secrets.valid(session) == [second, first]
        assert second != first


def snippet(language: str) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    return found[0]


def arguments(headers: dict[str, str]) -> list[str]:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return [SECRET, *(headers[name] for name in names), base64.b64encode(BODY).decode()]


def runs(command: list[str], headers: dict[str, str]) -> str:
    done = subprocess.run(
        [*command, *arguments(headers)], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


PYTHON_MAIN = """
import base64, sys
secret, event_id, timestamp, signature, body = sys.argv[1:]
headers = {"webhook-id": event_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
print(str(verify(secret, headers, base64.b64decode(body))).lower())
"""
JAVA_MAIN = """
class Main {
    public static void main(String[] given) throws Exception {
        byte[] body = java.util.Base64.getDecoder().decode(given[4]);
        System.out.println(CallscribeWebhook.verify(given[0], given[1], given[2], given[3], body));
    }
}
"""


@pytest.fixture(scope="module", params=["python", "java"])
def verifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A command that runs the verifier of the docs."""
    folder = tmp_path_factory.mktemp("verifier")
    if request.param == "python":
        (folder / "verify.py").write_text(snippet("python") + PYTHON_MAIN)
        return [sys.executable, str(folder / "verify.py")]
    if shutil.which("javac") is None and shutil.which("java") is None:
        pytest.skip("needs Java")
    imports, rest = re.findall(r"((?:import .*?;\n|\n)+)(.*)", snippet("java"), re.DOTALL)[0]
    (folder / "Main.java").write_text(imports + JAVA_MAIN + rest.replace("public final class", "final class"))
    return ["java", str(folder / "Main.java")]


def test_the_verifiers_in_the_docs_accept_genuine_events_only(verifier: list[str]) -> None:
    assert runs(verifier, signed()) == "true"
    assert runs(verifier, signed() | {"webhook-id": "another"}) == "false"
    assert runs(verifier, signed(now() - timedelta(minutes=6))) == "false"
