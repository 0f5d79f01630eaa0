"""Marks a watched folder as that of one database.

Two databases on one folder would each take the accepted recordings of the other for their own lost ones, give them back
and transcribe them, without an end. All functions block.
"""

import os
from uuid import UUID

from app.intake.folder.place import ACCEPTED, FolderUnavailable, Place

MARK = ".database"
MOST_BYTES = 100
WRITTEN = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def require_owner(place: Place, owner: UUID) -> None:
    """Mark the folder, if it has no mark. Raises FolderUnavailable if it has the mark of another database."""
    if not _marked_by(place):  # the mark is missing, or a full disk kept it empty
        with place.accepted_folder() as folder:
            with open(os.open(MARK, WRITTEN, 0o666, dir_fd=folder), "w") as file:  # noqa: PTH123  a descriptor
                file.write(str(owner))
                file.flush()
                os.fsync(file.fileno())
            os.fsync(folder)
    if _marked_by(place) != str(owner):
        mark = place.root / ACCEPTED / MARK
        raise FolderUnavailable(
            f"{place.root} belongs to a service with another database: remove {mark} if that one watches it no more"
        )


def _marked_by(place: Place) -> str:
    found = place.small_file((ACCEPTED, MARK), MOST_BYTES)
    return "" if found is None else found[0].decode(errors="replace").strip()
