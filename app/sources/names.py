"""Names of recordings and of their URLs, as clients, logs and file systems may safely have them. Pure.

Uploads and URLs share these rules, because a stranger may choose the name in both.
"""

from pathlib import PurePath
from unicodedata import category
from urllib.parse import unquote, urlsplit

from app.network.disposition import names

MAX_NAME_CHARACTERS = 255
MAX_ENDING_CHARACTERS = 16
JOINERS = "\u200c\u200d"


def shown_url(source: str) -> str:
    """Returns a recording's URL as clients and logs show it: without credentials, query and fragment.

    Those may contain secrets.
    """
    parts = urlsplit(source)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def last_component(url: str) -> str:
    """Returns the last part of a URL's path as the name of the recording. It is percent-decoded, and may be empty."""
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def shown_name(filename: str | None) -> str | None:
    """A sender's name for a file, as it is shown: without folders and control characters.

    It has at most 255 characters. If the name is longer, its ending, such as `.wav`, is kept. None if no name is left.
    """
    if filename is None:
        return None
    name = "".join(filter(_is_shown, filename.replace("\\", "/").rsplit("/", 1)[-1])).strip()
    ending = PurePath(name).suffix
    if len(name) > MAX_NAME_CHARACTERS and len(ending) <= MAX_ENDING_CHARACTERS:
        return name[: MAX_NAME_CHARACTERS - len(ending)] + ending
    return None if name in ("", ".", "..") else name[:MAX_NAME_CHARACTERS]


def _is_shown(character: str) -> bool:
    """Macs write unusual spaces into names, and Persian and Indic scripts need joiners. Python prints neither."""
    return character.isprintable() or category(character) == "Zs" or character in JOINERS


def name_in(disposition: bytes) -> str | None:
    """Returns the file name in a `Content-Disposition`, as it may be shown. None if there is none."""
    return shown_name(names(disposition)[1]) if disposition else None
