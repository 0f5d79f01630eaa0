"""The first step of commands that run a part of the service: the settings and their folders.

It exists so that every command treats settings and folders in the same way.
"""

import errno
import os

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


def why_no_port(error: Exception) -> str:
    """Returns why a port cannot be opened. The text follows its number."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    if error.errno == errno.EADDRINUSE:
        return "it is in use; choose another port"
    if error.errno == errno.EACCES:
        return "this user may not open it; choose a port from 1024 on"
    return os.strerror(error.errno) if error.errno > 0 else error.strerror or str(error)
