"""Keeps Python's garbage collection short, because it stops everything, also heartbeats and health checks.

A full collection looks at every object. Imports create hundreds of thousands that stay. With them a collection took two
seconds on a busy machine, and ran every few seconds while thousands of clients asked.
"""

import gc

NEW_OBJECTS = (
    10_000  # before a collection of young objects. Python's default of 700 is small, because a request makes hundreds
)


def spare_what_stays() -> None:
    """Call it once the service is up. Objects that exist by then are never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, 10, 10)
