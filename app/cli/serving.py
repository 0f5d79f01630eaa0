"""`callscribe serve` and `callscribe worker`, the commands that run until they are stopped.

The engine and the web framework are slow to import, so the commands import them when they run.
"""

import asyncio
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Annotated, Any

import structlog
import typer
import uvloop

from app.audio.containment.fence import close_to_other_processes
from app.cli.leaving import leave
from app.cli.preparation import checked_settings, why_no_port
from app.collector import send_traces
from app.process.memory import share_memory
from app.settings import Settings, SettingsError
from app.telemetry import set_up_logging


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. `::` means all addresses, of IPv4 and IPv6.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    executor: Annotated[
        bool, typer.Option("--executor/--no-executor", help="Also run jobs, or only answer HTTP requests.")
    ] = True,
) -> None:
    """Answer HTTP requests, and run jobs in the same process."""
    close_to_other_processes()
    if executor:
        share_memory()
    from app.api.app import serve as serve_http
    from app.api.auth import is_loopback
    from app.making import check_engine, check_watch
    from app.service import open_service

    settings = checked_settings()
    _close_to_other_users(settings)
    if executor:
        check_engine(settings)
    check_watch(settings)
    listener, metrics_listener = listen(host, port), listen_for_metrics(settings)
    set_up_logging(settings.log_format, settings.log_level)
    _run_until_stopped(
        serve_http(
            open_service(
                settings,
                executor=executor,
                is_exposed=not is_loopback(host),
                metrics_listener=metrics_listener,
            ),
            listener,
            max_connections_per_client=settings.max_connections_per_client,
            data_dir=settings.data_dir,
            root_path=settings.root_path,
            trusted_proxies=settings.trusted_proxies,
            cors_origins=settings.cors_origins,
        )
    )


def worker() -> None:
    """Run jobs without answering HTTP requests. Any number of processes may share one database."""
    close_to_other_processes()
    share_memory()
    from app.making import check_engine, check_watch

    settings = checked_settings()
    _close_to_other_users(settings)
    check_engine(settings)
    check_watch(settings)
    metrics_listener = listen_for_metrics(settings)
    set_up_logging(settings.log_format, settings.log_level)
    _run_until_stopped(_work(settings, metrics_listener))


def listen(host: str, port: int, asked: str | None = None) -> socket.socket:
    """Returns a socket that listens on the address. Raises SettingsError if that is not possible.

    The error names what `asked` for the address, or else the options. `::` means every address of both families, and so
    does an empty host if the machine has both. A name that has addresses of both families means its IPv4 address.
    """
    from app.api.server.connection_limits import parse_address

    wanted = host.strip("[]") or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")  # noqa: S104  the operator asks
    try:
        with suppress(ValueError):
            wanted = wanted if "%" in wanted else str(parse_address(wanted))
        found = socket.getaddrinfo(wanted, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        return socket.create_server(address, family=family, dualstack_ipv6=wanted == "::")
    except (OSError, UnicodeError, ValueError) as error:
        raise SettingsError(f"{asked or f'--host {host} --port {port}'}: {why_no_port(error)}") from None


def listen_for_metrics(settings: Settings) -> socket.socket | None:
    """Returns a socket that listens for Prometheus, if a setting asks for it. Raises SettingsError."""
    host, port = settings.metrics_host, settings.metrics_port
    return None if port is None else listen(host, port, f"CALLSCRIBE_METRICS_PORT={port} on {host}")


def _close_to_other_users(settings: Settings) -> None:
    """Lets only this user read the recordings that are written from now on, and those of earlier versions.

    It does not change a folder that the operator chose for the recordings.
    """
    os.umask(0o077)
    ours = ["work", "live", *(["audio"] if settings.store_url is None else [])]
    for folder in (settings.data_dir / name for name in ours):
        with suppress(OSError):  # the folder does not exist yet, or belongs to another user
            folder.chmod(0o700)


def _run_until_stopped(service: Coroutine[Any, Any, bool]) -> None:
    from app.database.connections import DatabaseUnavailable
    from app.process.open_files import raise_limit
    from app.storage.store import StoreUnavailable

    raise_limit()
    send_last_spans = send_traces()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            stopped_in_order = runner.run(service)
        except (DatabaseUnavailable, StoreUnavailable) as error:
            typer.echo(f"callscribe: {error}", err=True)
            raise typer.Exit(1) from None
        except SettingsError as error:
            typer.echo(f"callscribe: {error}", err=True)
            leave(2)  # models may be loading in a thread that does not stop
        except asyncio.CancelledError:  # a signal came before the service had started
            stopped_in_order = True
    send_last_spans()
    structlog.stdlib.get_logger("callscribe").info("stopped", clean=stopped_in_order)
    leave(0 if stopped_in_order else 1)


async def _work(settings: Settings, metrics_listener: socket.socket | None) -> bool:
    """Runs jobs until a signal stops the process or a part fails. Returns whether it was a signal."""
    from app.process.garbage import spare_what_stays
    from app.service import open_parts, report_ready

    async with open_parts(settings, executor=True, metrics_listener=metrics_listener) as parts:
        spare_what_stays()
        database = "embedded" if settings.database_url is None else str(settings.database_url)
        ready = report_ready(parts, "Callscribe's worker is ready", data_dir=str(settings.data_dir), database=database)
        announcing = asyncio.create_task(ready)
        await parts.shutdown.requested.wait()
        announcing.cancel()
        return not parts.shutdown.failed
