"""What is asked for a recording of the folder: the options of the folder, and those of its side file over them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.errors import InvalidRequest
from app.intake.ask import Ask
from app.intake.folder.names import shown, stem
from app.intake.requests import CreateTranscription, json_object, validated

MOST_SIDE_BYTES = 64 * 1024
MOST_EXTERNAL_ID = 255


class SideFileInvalid(InvalidRequest):
    """The side file is no JSON object, so it may be incomplete."""


@dataclass(frozen=True)
class Asking:
    """`options` are fields of a request, which `checked` has checked."""

    options: Mapping[str, Any]

    @classmethod
    def checked(cls, options: Mapping[str, Any]) -> "Asking":
        """Raises InvalidRequest."""
        validated(CreateTranscription, dict(options))
        return cls(options)

    def ask(self, name: str, side_file: bytes | None) -> Ask:
        """What is asked for the recording of this name. Its `external_id` is its name without ending, if none is given.

        Null or an empty text in the side file removes an option of the folder. Raises InvalidRequest, and
        SideFileInvalid.
        """
        values = {**self.options, **(_read(side_file) if side_file is not None else {})}
        given = {name: value for name, value in values.items() if value is not None and value != ""}
        ask = validated(CreateTranscription, given).ask()
        return ask if ask.external_id else replace(ask, external_id=shown(stem(name))[:MOST_EXTERNAL_ID])


def _read(side_file: bytes) -> dict[str, Any]:
    if len(side_file) > MOST_SIDE_BYTES:
        raise InvalidRequest(f"The side file has more than {MOST_SIDE_BYTES} bytes.")
    try:
        return json_object(side_file, "side file")
    except InvalidRequest as error:
        raise SideFileInvalid(error.detail) from None
