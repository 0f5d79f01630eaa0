"""`callscribe doctor` checks everything that the service needs, and says what to do, because a report begins with it.

It may run beside a running service. It migrates nothing, and leaves nothing behind that the service would not make.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from app.audio.containment.fence import close_to_other_processes
from app.cli.leaving import leave


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, for programs.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Run only this check and those that it needs. May be repeated.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Load no model, so that no speech is timed.")] = False,
) -> None:
    """Check everything that the service needs, and say what to do.

    Run it as the service's user and with its settings. It may run beside the service, and changes nothing in the
    database. Without --quick, it loads each model and times ten seconds of speech on each device.
    The output holds no key and no password, so it can be pasted into a report.
    The exit status is 0 if nothing failed, also with warnings, and 1 otherwise.
    """
    close_to_other_processes()
    os.umask(0o077)
    from app.cli.doctor.examining import CHECKS
    from app.cli.doctor.machine import facts
    from app.telemetry import set_up_logging

    set_up_logging("text", "error")
    names = [check.name for check in CHECKS]
    if unknown := [name for name in only or () if name not in names]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(names)}", param_hint="--only")
    leave(asyncio.run(_run(facts(), only or (), as_json=as_json, quick=quick)))


async def _run(machine: dict[str, Any], only: Sequence[str], *, as_json: bool, quick: bool) -> int:
    from app.cli.doctor.examining import Named, examine, masked
    from app.cli.doctor.machine import in_words
    from app.cli.doctor.secrets import mask_for

    mask, found = mask_for(os.environ), list[Named]()
    if not as_json:
        typer.echo(in_words(machine))
    async for each in examine(only, quick=quick):
        named = masked(each, mask)
        found.append(named)
        if not as_json:
            typer.echo(_line(named))
            sys.stdout.flush()
    counted = Counter(str(named.finding.status) for named in found)
    if as_json:
        typer.echo(json.dumps({"machine": machine, "counts": counted, "checks": list(map(_row, found))}, indent=1))
    else:
        typer.echo(
            ", ".join(
                f"{counted[status]} {status}" for status in ("ok", "warning", "failed", "skipped") if counted[status]
            )
        )
    return 1 if counted["failed"] else 0


def _line(named: Any) -> str:
    finding = named.finding
    name = f"{named.check} {finding.about}" if finding.about else named.check
    line = f"{finding.status:8} {name}: {finding.text}"
    return f"{line}\n{'':8} → {finding.advice}" if finding.advice else line


def _row(named: Any) -> dict[str, Any]:
    return {"check": named.check, **asdict(named.finding)}
