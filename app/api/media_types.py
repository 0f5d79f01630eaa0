"""Which kind of body a request has. If its route cannot read it, the error says what to send instead."""

from typing import Any

from fastapi import Header, Request

from app.errors import FieldError, InvalidRequest, TooLarge, UnsupportedMedia

JSON, FORM = "application/json", "multipart/form-data"
_SEND_A_FILE = (
    "The body is a file by itself. Send the recording as the part `file` of multipart/form-data; with curl, "
    "`-F file=@call.wav`."
)
_SEND_JSON = (
    "Send multipart/form-data with a part `file`, or JSON with a `url` and the header `Content-Type: application/json`."
)
_FILES = {"recording": "call.wav", "manifest": "calls.csv"}
_INSTEAD = {
    "": f"The request has no `Content-Type`. {_SEND_JSON}",
    "application/x-www-form-urlencoded": f"This is what `curl -d` sends without a `Content-Type`. {_SEND_JSON}",
    "application/octet-stream": _SEND_A_FILE,
}


def idempotency_header(result: str) -> Any:
    """Describes the header `Idempotency-Key` of a route that makes a `result`, such as a transcription."""
    return Header(
        min_length=1,
        max_length=255,
        description="A text that you choose for this request. If you send the same request again with the same key, "
        f"the service returns the same {result}, and does not make a second one. It refuses a different request with "
        "that key.",
    )


def require_form(request: Request, file: str, content: str = "recording") -> None:
    """Raises UnsupportedMedia if the body is no form. `file` is the name of the part with the `content`."""
    if _media_type(request) != FORM:
        detail = f"Send multipart/form-data, with the {content} in a part named `{file}`."
        raise UnsupportedMedia(detail, title="The body is not a form")


def require_json(request: Request) -> None:
    """Raises UnsupportedMedia if the body is not JSON."""
    if not _is_json(_media_type(request)):
        raise not_json()


def not_json() -> UnsupportedMedia:
    detail = "Send JSON with the header `Content-Type: application/json`."
    return UnsupportedMedia(detail, title="The body is not JSON")


def _is_json(kind: str) -> bool:
    return kind in (JSON, "text/json") or (kind.startswith("application/") and kind.endswith("+json"))


def _media_type(request: Request) -> str:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia(
            "The body is compressed. Send it without `Content-Encoding`.", title="The body is compressed"
        )
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def kind_of_body(request: Request, *, content: str = "recording", field: str = "url") -> str:
    """Returns JSON or FORM. Raises UnsupportedMedia for other bodies, and for compressed ones.

    The form has the `content` in its part `file`, and JSON names it in `field`.
    """
    kind = _media_type(request)
    if _is_json(kind):
        return JSON
    if kind != FORM:
        instead = _SEND_A_FILE if kind.startswith(("audio/", "video/")) else _SEND_JSON
        words = _INSTEAD.get(kind, instead).replace("with a `url`", f"with a `{field}`")
        words = words.replace("the recording", f"the {content}").replace("call.wav", _FILES[content])
        raise UnsupportedMedia(words, title="The body is neither a form nor JSON")
    return kind


def announced_bytes(request: Request, kind: str, max_upload_bytes: int, max_form_bytes: int) -> int:
    """Returns how many bytes the request announces, or 0. Raises TooLarge if a form may not have as many.

    The size of JSON is checked while it is read.
    """
    announced = int(request.headers.get("content-length", 0))
    if kind == FORM and announced > max_form_bytes:
        raise TooLarge(f"The recording is larger than {max_upload_bytes} bytes.")
    return announced


def require_one_idempotency_key(request: Request) -> None:
    """Raises InvalidRequest if the header is repeated, because the client would not know which one counts."""
    if len(request.headers.getlist("idempotency-key")) > 1:
        error = FieldError("Idempotency-Key", "must not be repeated")
        raise InvalidRequest("The request has two idempotency keys.", errors=(error,))
