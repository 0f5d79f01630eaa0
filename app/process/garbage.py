"""Keeps Python's garbage collection short, because it stops everything, also heartbeats and health checks.

A full collection looks at every object, and imports create hundreds of thousands that stay. So a collection took two
seconds on a busy machine, and there was one every few seconds while thousands of clients sent requests.
"""

import gc

# How many new objects lead to a collection of the young ones. Python's default of 700 is few: a request makes hundreds.
NEW_OBJECTS = 10_000


def spare_what_stays() -> None:
    """Exclude all objects that exist now from later collections. Call this when the service is up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, 10, 10)
