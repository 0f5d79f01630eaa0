"""Says with which code a WebSocket is closed after an error (RFC 6455, section 7.4.1)."""

from http import HTTPStatus

from app.errors import AppError, BadMedia, ShuttingDown, TooLarge, UnsupportedMedia

NORMAL = 1000
UNSUPPORTED_DATA = 1003
INVALID_DATA = 1007
NOT_ALLOWED = 1008
TOO_LARGE = 1009
OUR_FAULT = 1011
RESTARTING = 1012
TRY_AGAIN_LATER = 1013

_LATER = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE}
_NOT_ALLOWED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def close_code(error: AppError) -> int:
    """Returns the close code of an error, by which clients know whether it helps to connect again."""
    if isinstance(error, (UnsupportedMedia, BadMedia)):
        return UNSUPPORTED_DATA
    if isinstance(error, TooLarge):
        return TOO_LARGE
    if isinstance(error, ShuttingDown):
        return RESTARTING
    if error.status in _LATER:
        return TRY_AGAIN_LATER
    if error.status in _NOT_ALLOWED:
        return NOT_ALLOWED
    return OUR_FAULT if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else INVALID_DATA
