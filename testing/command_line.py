"""Runs a command of `callscribe` in the process of the tests, because a new process imports for more than a second.

Use `testing.service.callscribe` instead for a command that loads a model, heeds signals, or ends its process itself.
"""

import io
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog

from app.cli.commands import main
from testing.service import environment


def run_command(
    *arguments: str, folder: Path, given: str | None = None, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Does what `testing.service.callscribe` does, from the same `main`.

    The command runs in a thread, because the thread of the test may have an event loop.
    """
    own = environment(folder, **settings)
    standard_input, printed, errors = _text((given or "").encode()), _text(), _text()
    statuses: list[int] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            main()
            statuses.append(0)
        except SystemExit as end:
            statuses.append(int(end.code or 0))
        except BaseException as error:  # noqa: BLE001  it is raised again in the thread of the test
            raised.append(error)

    with (
        patch.dict(os.environ, own, clear=True),
        patch.object(tempfile, "tempdir", own["TMPDIR"]),
        patch.multiple(sys, argv=["callscribe", *arguments], stdin=standard_input, stdout=printed, stderr=errors),
        _logging_as_before(),
    ):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    if raised:
        raise raised[0]
    return subprocess.CompletedProcess(["callscribe", *arguments], statuses[0], _read(printed), _read(errors))


def _text(content: bytes = b"") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", write_through=True)


def _read(text: io.TextIOWrapper) -> str:
    buffer = text.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """Undoes what the command changes of the process's logging. Loggers must not keep the command's processors."""
    root, chosen = logging.getLogger(), structlog.get_config()
    handlers, levels = list(root.handlers), {root: root.level}
    levels |= {each: each.level for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)}
    configure = structlog.configure

    def configure_without_cache(**given: Any) -> None:
        configure(**given | {"cache_logger_on_first_use": False})

    try:
        with patch.object(structlog, "configure", configure_without_cache):
            yield
    finally:
        configure(**chosen)
        root.handlers = handlers
        for logger, level in levels.items():
            logger.setLevel(level)
