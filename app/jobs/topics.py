"""The topics of notifications about jobs. A notification wakes the worker or the client that waits for a change.

A change and its notification are in the same transaction. Topics are their own module, so that the workers' queue, the
clients' changes and the clients that wait need not import each other.
"""

from uuid import UUID

PENDING_TOPIC = "pending"
"""Notified when a job waits, so that workers claim without waiting for their next poll."""


def changed_topic(transcription_id: UUID) -> str:
    """Notified at each change of the job's status, for clients that wait for its end."""
    return f"changed:{transcription_id}"


def cancelled_topic(transcription_id: UUID) -> str:
    """Notified when a client cancels or deletes a job, for the worker that runs it."""
    return f"cancelled:{transcription_id}"
