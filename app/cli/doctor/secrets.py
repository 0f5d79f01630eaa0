"""Removes secrets and the home folder from texts, because people paste them into reports.

The checks write no secrets. This is the second fence: the words of a library, a driver or a server may have one.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote

from app.settings import PREFIX

SHORTEST = 4  # a shorter text stands in many words
NAMES = re.compile(r"PASSWORD|PASSFILE|SECRET|TOKEN|KEY|CREDENTIAL")
LOGIN = re.compile(r"://([^/?#\s]*)@")
HIDDEN = "[hidden]"


def mask_for(environment: Mapping[str, str]) -> Callable[[str], str]:
    """Returns a function that hides what is secret in this environment."""
    hidden = sorted(_secrets(environment), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, hidden))) if hidden else None
    home = os.fspath(Path(environment.get("HOME", "/")))

    def mask(text: str) -> str:
        text = LOGIN.sub(f"://{HIDDEN}@", text)
        text = pattern.sub(HIDDEN, text) if pattern else text
        return text.replace(f"{home}/", "~/") if len(home) > 1 else text

    return mask


def _secrets(environment: Mapping[str, str]) -> set[str]:
    found: set[str] = set()
    for name, value in environment.items():
        if NAMES.search(name):
            found |= {value, *value.split(",")}
        if name == f"{PREFIX}API_KEYS":
            found |= {pair.partition(":")[2] for pair in value.split(",")}
        for login in LOGIN.findall(value):
            password = login.partition(":")[2]
            found |= {login, password, unquote(password)}
    return {secret.strip() for secret in found if len(secret.strip()) >= SHORTEST}
