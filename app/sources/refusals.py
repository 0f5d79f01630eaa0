"""What an HTTP status means for a recording, with the beginning of the answer's body. Pure.

Phone systems send the address of a recording before the recording is there, so that some statuses mean "not yet". Of
the body, only codes and phrases that are known here get into error texts, because a stranger may have written it.
"""

import re

from app.errors import FetchFailed

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})  # after these statuses, another try may succeed
NOT_READY = {
    202: "the recording is not ready",
    404: "there is no recording at this address",
    409: "the recording is being changed",
    423: "the recording is locked",
    425: "the recording is not ready",
}
IN_WORDS = {
    401: "the address requires a login, and the service sends none",
    403: "the address may not be read, or the link is not valid any more",
    410: "the recording is no longer at this address",
}
CODE = re.compile(rb"<Code>(\w{1,60})</Code>")
CODES = frozenset(
    {
        "AccessDenied",
        "AuthenticationFailed",
        "AuthorizationQueryParametersError",
        "BlobNotFound",
        "ContainerNotFound",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidObjectState",
        "InvalidToken",
        "NoSuchBucket",
        "NoSuchKey",
        "PermanentRedirect",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "SlowDown",
    }
)
"""Codes of Amazon S3, Google Cloud Storage and Azure Blob Storage."""
NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})
EXPIRED = re.compile(rb"<Code>ExpiredToken</Code>|has expired|not valid in the specified time frame", re.IGNORECASE)


def refusal(status: int, beginning: bytes) -> FetchFailed:
    """Returns the failure of a fetch that was answered with a status other than success.

    S3 answers 403 with AccessDenied also for an object that does not exist, if the signer of the link may not list the
    bucket. So the object may come too.
    """
    found = CODE.search(beginning)
    code = found[1].decode() if found else ""
    known = f" ({code})" if code in CODES else ""
    if status in (400, 401, 403) and EXPIRED.search(beginning):
        return FetchFailed(f"The server answered {status}{known}: the link has expired.")
    why = NOT_READY.get(status) or IN_WORDS.get(status)
    detail = f"The server answered {status}{known}" + (f": {why}." if why else ".")
    not_ready = status in NOT_READY or (status == 403 and code == "AccessDenied")
    return FetchFailed(detail, transient=status in TRANSIENT, not_ready=not_ready and code not in NO_BUCKET)
