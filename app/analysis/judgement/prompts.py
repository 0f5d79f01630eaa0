"""The prompts: text files beside this module, which an operator may replace. Their hash is their version."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from string import Template

OWN_FOLDER = Path(__file__).with_name("prompts")
PLACEHOLDERS = {
    "system": {"language"},
    "judge": {"part_note", "intent", "questions", "transcript"},
    "reduce": {"intent", "questions", "notes"},
    "correct": {"problem"},
}
NEEDED = {"judge": {"transcript"}, "reduce": {"notes"}, "correct": {"problem"}}
MOST_BYTES = 100_000


@dataclass(frozen=True)
class Prompts:
    """The text of each prompt by its name. `version` changes with every character of them."""

    texts: dict[str, str]

    @property
    def version(self) -> str:
        parts = (f"{name}\n{self.texts[name]}\0" for name in sorted(PLACEHOLDERS))
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]

    def filled(self, name: str, **values: str) -> str:
        """The prompt with its placeholders replaced. What is put in is not searched for placeholders again."""
        return Template(self.texts[name]).substitute(values)


def load(folder: Path | None = None) -> Prompts:
    """Returns the prompts. A file `NAME.txt` in `folder` replaces the project's prompt of that name.

    Raises ValueError for a folder or a prompt that cannot be used.
    """
    if folder is not None and not folder.is_dir():
        raise ValueError(f"the folder {folder} does not exist")
    given = {path.stem for path in folder.glob("*.txt")} if folder is not None else set()
    if strange := sorted(given - PLACEHOLDERS.keys()):
        raise ValueError(
            f"{strange[0]}.txt is no prompt; there are {', '.join(f'{name}.txt' for name in PLACEHOLDERS)}"
        )
    places = {name: folder if folder is not None and name in given else OWN_FOLDER for name in PLACEHOLDERS}
    return Prompts({name: _checked(name, place / f"{name}.txt") for name, place in places.items()})


def _checked(name: str, path: Path) -> str:
    try:
        content = path.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} cannot be read: {type(error).__name__}") from None
    template = Template(text)
    if not template.is_valid():
        raise ValueError(f"{path.name}: a dollar sign that begins no placeholder must be written as $$")
    used = set(template.get_identifiers())
    if unknown := sorted(used - PLACEHOLDERS[name]):
        raise ValueError(f"{path.name}: ${unknown[0]} is no placeholder of this prompt")
    if missing := sorted(NEEDED.get(name, set()) - used):
        raise ValueError(f"{path.name}: ${missing[0]} is missing")
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path.name} has more than {MOST_BYTES} bytes")
    return text
