"""What commands do before their work, and how they end.

It exists so that every command treats settings and folders alike. It must not know the engine, the database or HTTP.
"""

import os
import sys
from typing import NoReturn

import typer

from app.settings import Settings, SettingsError, load_settings, unknown_settings


def checked_settings() -> Settings:
    """The settings, with their folders made. Warns of unknown ones. Raises SettingsError."""
    settings = load_settings()
    for line in unknown_settings():
        typer.echo(f"callscribe: warning: {line}", err=True)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (settings.data_dir / "models").mkdir(exist_ok=True)
    except OSError as error:
        raise SettingsError(f"CALLSCRIBE_DATA_DIR: {error.filename}: {error.strerror}") from None
    return settings


def leave(status: int) -> NoReturn:
    """End the process without waiting for the model's threads, which may be in the middle of a batch."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
