"""Which statuses mean "not yet", and what clients read about the others."""

import pytest

from app.sources.refusals import refusal

S3 = "<?xml version='1.0'?><Error><Code>{}</Code><Message>{}</Message><Key>secret-4711</Key></Error>"


@pytest.mark.parametrize("status", [202, 404, 409, 423, 425])
def test_a_recording_that_is_not_there_yet_may_come(status: int) -> None:
    failure = refusal(status, b"")
    assert (failure.not_ready, failure.transient) == (True, True)
    assert failure.detail.startswith(f"The server answered {status}: the") or "there is no recording" in failure.detail


@pytest.mark.parametrize(
    ("status", "code", "message", "detail", "not_ready"),
    [
        (403, "AccessDenied", "Request has expired", "403 (AccessDenied): the link has expired", False),
        (403, "AuthenticationFailed", "Signature not valid in the specified time frame", "link has expired", False),
        (400, "ExpiredToken", "The provided token has expired.", "400 (ExpiredToken): the link has expired", False),
        (403, "AccessDenied", "Access Denied", "403 (AccessDenied): the address may not be read", True),
        (403, "SignatureDoesNotMatch", "", "403 (SignatureDoesNotMatch)", False),
        (404, "NoSuchKey", "", "404 (NoSuchKey): there is no recording at this address", True),
        (404, "NoSuchBucket", "", "404 (NoSuchBucket)", False),
        (403, "Secret4711", "", "answered 403: the address may not be read", False),
    ],
)
def test_codes_of_stores_are_understood(status: int, code: str, message: str, detail: str, not_ready: bool) -> None:
    failure = refusal(status, S3.format(code, message).encode())
    assert detail in failure.detail
    assert failure.not_ready is not_ready
    assert "4711" not in failure.detail


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_busy_server_is_tried_for_longer(status: int) -> None:
    failure = refusal(status, b"")
    assert (failure.transient, failure.not_ready) == (True, False)
