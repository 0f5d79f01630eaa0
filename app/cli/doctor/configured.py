"""The check of the settings."""

import os

from app.cli.doctor.findings import Finding, failed, fine, warning
from app.cli.doctor.surroundings import Surroundings
from app.settings import PREFIX, unknown_settings


async def settings(at: Surroundings) -> list[Finding]:
    """Shows the names of the settings and not their values, because some are secret."""
    found = [failed(line, "Correct this setting. README.md has a table of all settings.") for line in at.wrong]
    found += [warning(line, "Remove it or correct its name: it has no effect.") for line in unknown_settings()]
    if found:
        return found
    names = sorted(name for name, value in os.environ.items() if value and _is_ours(name))
    return [fine(f"set: {', '.join(names)}" if names else "none is set, so all have their defaults", names=names)]


def _is_ours(name: str) -> bool:
    return name.startswith((PREFIX, "AWS_"))
