"""Lists what a folder of the service has, for tests that check what it keeps and what it erases."""

from pathlib import Path


def files_in(folder: Path) -> list[Path]:
    """Returns all files below the folder, except hidden ones, complete or not."""
    return [path for path in folder.rglob("[!.]*") if path.is_file()]
