"""Keeps Python's search for garbage short: it stops everything, heartbeats and health checks too.

A full search looks at every object. Hundreds of thousands come from imports and stay: with those it took two seconds
on a busy machine, every few seconds while thousands of clients asked.
"""

import gc

NEW_OBJECTS = 10_000  # before the young ones are searched; Python's own 700 are few for a request's hundreds


def spare_what_stays() -> None:
    """Call it once the service is up: what is there by then is never searched again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, 10, 10)
