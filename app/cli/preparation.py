"""The first and the last step of commands: the settings and their folders, and the end of the process.

It exists so that every command treats settings and folders in the same way.
"""

import os
import sys
from typing import NoReturn

import typer

from app import wording
from app.settings import Settings, SettingsError, load_settings, unknown_settings


def checked_settings() -> Settings:
    """Reads the settings and makes their folders. Warns of unknown settings.

    Raises SettingsError if a setting is wrong or a folder cannot be made.
    """
    settings = load_settings()
    for line in unknown_settings():
        typer.echo(f"callscribe: warning: {line}", err=True)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (settings.data_dir / "models").mkdir(exist_ok=True)
    except OSError as error:
        raise SettingsError(f"CALLSCRIBE_DATA_DIR: {error.filename}: {wording.of_disk(error)}") from None
    return settings


def leave(status: int) -> NoReturn:
    """Ends the process. It does not wait for the model's threads, because they may be in the middle of a batch."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
