"""Runs all checks of `callscribe doctor`, one after the other, and names what each found.

The order is that of the parts that depend on each other. A check whose part needs one that failed is skipped, so that
one cause gives one failure. No check may take the command down: an error in it and a part that never answers are
findings too.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from app.cli.doctor import (
    configured,
    database,
    decoding,
    folders,
    judgement,
    machine,
    meanings,
    models,
    neighbours,
    schema,
    stores,
    voices,
)
from app.cli.doctor.findings import Finding, Status, failed, skipped
from app.cli.doctor.surroundings import Surroundings
from app.process.tasks import within
from app.settings import read_settings

LIMIT_SECONDS = 90.0
REPORT = "This is a fault of the command itself. Report it (CONTRIBUTING.md)."
Answer = Finding | Sequence[Finding]


@dataclass(frozen=True)
class Check:
    """A check of one part. `needs` are checks that must not have failed. `uses` are checks that only run before it."""

    name: str
    run: Callable[[Surroundings], Awaitable[Answer]]
    needs: Sequence[str] = ()
    limit_seconds: float = LIMIT_SECONDS
    uses: Sequence[str] = ()


@dataclass(frozen=True)
class Named:
    check: str
    finding: Finding


CHECKS = (
    Check("settings", configured.settings),
    Check("data folder", folders.data_folder, ["settings"]),
    Check("free disk", folders.free_disk, ["settings"]),
    Check("workspace", folders.workspace, ["settings", "data folder"]),
    Check("open files", machine.open_files),
    Check("decoder", decoding.decoder),
    Check("sandbox", decoding.sandbox),
    Check("database", database.database, ["settings", "data folder"]),
    Check("schema", schema.schema, ["settings", "data folder", "database"]),
    Check("clock", schema.clock, ["settings", "data folder", "database"]),
    Check("signing secret", schema.signing_secret, ["settings", "data folder", "database", "schema"]),
    Check("keys", schema.keys, ["settings", "data folder", "database"]),
    Check("worker", schema.worker, ["settings", "data folder", "database", "schema"]),
    Check("audio store", stores.audio_store, ["settings", "data folder"], uses=["database"]),
    Check("outputs", stores.outputs, ["settings"]),
    Check("source buckets", stores.source_buckets, ["settings"]),
    Check("watched folder", neighbours.watched_folder, ["settings"]),
    Check("redis", neighbours.redis, ["settings"]),
    Check("network", neighbours.network, ["settings"]),
    Check("language model", judgement.language_model, ["settings"], 600),
    Check("meanings", meanings.meanings, ["settings"], uses=["data folder", "database"]),
    Check("voices", voices.voices, ["settings"]),
    Check("gpu", models.gpu, ["settings"]),
    Check("model", models.model, ["settings", "data folder"], 600),
    Check("speech", models.speech, ["settings", "data folder"], 3600),
)


def chosen(only: Sequence[str]) -> Sequence[Check]:
    """Returns the checks of these names and those that they need, or all checks if there are no names."""
    names = {name for check in CHECKS if check.name in only for name in (check.name, *check.needs, *check.uses)}
    return [check for check in CHECKS if not only or check.name in names]


async def examine(only: Sequence[str] = (), *, quick: bool = False) -> AsyncIterator[Named]:
    """Yields each finding as soon as it is there."""
    at = Surroundings(*read_settings(), quick=quick)
    bad: set[str] = set()
    async with at.opened:
        for check in chosen(only):
            found = await _findings(check, at, bad)
            if any(finding.status in (Status.FAILED, Status.SKIPPED) for finding in found):
                bad.add(check.name)
            for finding in found:
                yield Named(check.name, finding)


async def _findings(check: Check, at: Surroundings, bad: set[str]) -> list[Finding]:
    missing = next((name for name in check.needs if name in bad), None)
    if missing is not None:
        return [skipped(f"it needs what the check `{missing}` shows")]
    try:
        found = await within(check.limit_seconds, check.run(at))
    except TimeoutError:
        return [failed(f"no answer within {check.limit_seconds:.0f} s", "Look at what this part runs on.")]
    except Exception as error:  # noqa: BLE001  the other checks still have to run
        return [failed(f"the check itself failed: {type(error).__name__}: {_line(error)}", REPORT)]
    return [found] if isinstance(found, Finding) else list(found)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def masked(named: Named, mask: Callable[[str], str]) -> Named:
    finding = named.finding
    return replace(
        named, finding=replace(finding, text=mask(finding.text), advice=mask(finding.advice), about=mask(finding.about))
    )
