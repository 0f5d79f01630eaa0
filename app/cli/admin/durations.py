"""Reads how long something lasts, such as 90s, 30m, 12h or 7d. Pure."""

import re
from datetime import timedelta

import typer

_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration_of(text: str | None, option: str) -> timedelta | None:
    """Raises BadParameter, which names the option."""
    if text is None:
        return None
    if (match := _DURATION.fullmatch(text)) is None or not int(match[1]):
        raise typer.BadParameter(
            "write seconds, minutes, hours or days, such as 90s, 30m, 12h or 7d", param_hint=option
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
