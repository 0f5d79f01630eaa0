"""Puts a refused recording aside, with a file beside it that says why. Blocks."""

from contextlib import suppress

from app.intake.folder.names import SIDE_ENDING, Parts, numbered
from app.intake.folder.place import MOST_NUMBERED, REFUSED, FolderUnavailable, Place

ERROR_ENDING = ".error" + SIDE_ENDING


def refuse(place: Place, source: Parts, path: Parts, side_file: Parts | None, problem: bytes) -> bool:
    """Move a recording and its side file to the refused ones. `path` is its path below the watched folder.

    The problem is written first, so that a crash leaves no recording without a reason. If this is repeated after a
    crash, it finds the problem that it has written. Nothing is overwritten. Returns False if the recording is gone.
    """
    for number in range(1, MOST_NUMBERED):
        target = (REFUSED, *path[:-1], numbered(path[-1], number, len(ERROR_ENDING)))
        reason = (*target[:-1], target[-1] + ERROR_ENDING)
        written = place.small_file(reason, len(problem))
        if place.status(target) is not None or (written is not None and written[0] != problem):
            continue
        place.write(reason, problem)
        with suppress(FileExistsError):
            if not place.move_to(source, target):
                if place.status(target) is None:
                    place.remove(reason)
                return False
            if side_file is not None:
                place.move_to_free_name(side_file, (*target[:-1], side_file[-1]))
            return True
    raise FolderUnavailable(f"{place.root} has too many files of the same name in {REFUSED}")
