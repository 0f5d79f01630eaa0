"""Where the transcript of a job is written: the places that may be named, their placeholders, and the files' names.

It is pure, and must not know how a file or an object is written. A stranger may choose the values of placeholders, such
as the name of a file. So a value can neither add a folder to the path nor leave the place that a client or the operator
has named.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePath

from app.errors import FieldError, InvalidRequest, UrlNotAllowed
from app.storage.file_url import FILE_SCHEME, encoded
from app.storage.s3_url import BUCKET, CONTROL_CHARACTERS, S3Url
from app.transcripts.formats import Format, endings

PLACEHOLDERS = ("id", "external_id", "file_name", "file_stem", "date")
PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
DISTINCT = ("id", "external_id", "file_name", "file_stem")  # they differ between the jobs of one day
# Object stores and their tools treat these specially, or a file system does.
ESCAPED = re.compile(r'[\x00-\x1f\x7f%/\\{}^`\[\]"<>~#|?*:]')
MAX_KEY_BYTES = 1000  # of 1,024 that S3 allows, because a format's ending follows
MAX_NAME_BYTES = 240  # of 255 that file systems allow
S3_SCHEME = "s3://"


@dataclass(frozen=True)
class Output:
    """Asks for a file for each format. `url` may have placeholders, and the ending is added to it.

    It is `s3://bucket/key`, whose key is not percent-encoded, or the URL of a path from `storage.file_url`. Without
    formats, the operator's formats apply.
    """

    url: str
    formats: tuple[Format, ...] = ()


@dataclass(frozen=True)
class OutputFile:
    """A file or an object that is to be written."""

    url: str
    format: Format


def check_output(url: str) -> str:
    """Returns the URL of an object without its ending. Raises ValueError if no object can be written there."""
    bucket, _, key = url.removeprefix(S3_SCHEME).partition("/")
    if not url.startswith(S3_SCHEME) or not BUCKET.fullmatch(bucket):
        raise ValueError("must be s3://bucket/key, such as s3://results/{file_stem}")
    check_path(key)
    return url


def check_path(path: str) -> str:
    """Returns the key of an object or the path below a folder. Raises ValueError if it names no file."""
    known = PLACEHOLDER.sub("", path)
    if "{" in known or "}" in known:
        raise ValueError("knows the placeholders " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS))
    if CONTROL_CHARACTERS.search(path):
        raise ValueError("must not hold control characters")
    if len(path.encode(errors="surrogateescape")) > MAX_KEY_BYTES:
        raise ValueError(f"must have at most {MAX_KEY_BYTES} bytes after the bucket or folder")
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise ValueError("must end with a name, and no part of it may be empty, '.' or '..'")
    return path


def check_default(url: str) -> str:
    """Returns the operator's URL for all jobs. Raises ValueError if all of them would write the same file."""
    if not any(f"{{{name}}}" in url for name in DISTINCT):
        names = ", ".join(f"{{{name}}}" for name in DISTINCT)
        raise ValueError(f"needs a placeholder that differs between jobs: {names}")
    return url


def values_of(job_id: str, external_id: str | None, filename: str | None, created_at: datetime) -> Mapping[str, str]:
    """Returns the values for the placeholders. The date is that of the request, in UTC."""
    return {
        "id": job_id,
        "external_id": external_id or "",
        "file_name": filename or "",
        "file_stem": PurePath(filename or "").stem,
        "date": created_at.strftime("%Y-%m-%d"),
    }


def files_of(outputs: Sequence[Output], values: Mapping[str, str]) -> list[OutputFile]:
    """Returns the files of a job that is completed.

    A value that fits into no name is replaced by the job's id. The name of a fetched recording may be one, because it
    is known only after the job was accepted.
    """
    fitting = values if all(not unfit(output.url, values) for output in outputs) else _by_id(values)
    return [
        OutputFile(f"{filled(output.url, fitting)}.{ending}", form)
        for output in outputs
        for form, ending in endings(output.formats).items()
    ]


def filled(url: str, values: Mapping[str, str]) -> str:
    """Returns the URL with its placeholders filled in. The special characters of values are percent-encoded."""
    return PLACEHOLDER.sub(lambda found: _escaped(values[found[1]], is_file=url.startswith(FILE_SCHEME)), url)


def _escaped(value: str, *, is_file: bool) -> str:
    """The `%` belongs to the key or the name. In the URL of a path, it is encoded once more."""
    name = ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", value)
    return encoded(name) if is_file else name


def unfit(url: str, values: Mapping[str, str]) -> list[str]:
    """Returns the placeholders whose values make a part of the path that no file can have as its name."""
    found: dict[str, None] = {}
    for part in url.split("://", 1)[-1].split("/"):
        name, names = filled(part, values), PLACEHOLDER.findall(part)
        if names and (name.strip() in ("", ".", "..") or len(name.encode(errors="surrogateescape")) > MAX_NAME_BYTES):
            found.update(dict.fromkeys(names))
        found.update((each, None) for each in names if not values[each])
    return list(found)


def _by_id(values: Mapping[str, str]) -> Mapping[str, str]:
    return {**values, **dict.fromkeys(DISTINCT, values["id"])}


@dataclass(frozen=True)
class Outputs:
    """The outputs of requests: what they ask for, in the `allowed` places, or the operator's `default`."""

    allowed: tuple[S3Url, ...] = ()
    default: Output | None = None
    formats: tuple[Format, ...] = (Format.JSON,)

    def of(self, asked: Output | None, values: Mapping[str, str], name_field: str) -> list[Output]:
        """Returns the outputs that the job will write. Raises UrlNotAllowed and InvalidRequest.

        `name_field` is the field of the request that the name of the file comes from.
        """
        if asked is not None:
            self._require_allowed(asked.url)
        output = asked or self.default
        if output is None:
            return []
        _require_fillable(output.url, values, name_field)
        return [replace(output, formats=output.formats or self.formats)]

    def _require_allowed(self, url: str) -> None:
        if not is_allowed(self.allowed, url):
            detail = "names a place that CALLSCRIBE_OUTPUT_BUCKETS does not allow"
            raise UrlNotAllowed(f"The output is not allowed: it {detail}.", errors=(FieldError("output.url", detail),))


def is_allowed(places: Sequence[S3Url], url: str) -> bool:
    """Returns whether the URL of an output is in one of the places: a bucket, or a prefix of keys in it."""
    bucket, _, key = url.removeprefix(S3_SCHEME).partition("/")
    return any(place.bucket == bucket and (not place.key or key.startswith(f"{place.key}/")) for place in places)


def _require_fillable(url: str, values: Mapping[str, str], name_field: str) -> None:
    if names := unfit(url, values):
        fields = {"file_name": name_field, "file_stem": name_field}
        detail = "must have a value that can be a part of the output's name: not empty, '.' or '..', and not too long"
        errors = tuple(FieldError(field, detail) for field in dict.fromkeys(fields.get(name, name) for name in names))
        raise InvalidRequest("The output's URL cannot be filled in.", errors=errors)
    if len(filled(url, values).encode(errors="surrogateescape")) > MAX_KEY_BYTES:
        errors = (FieldError("output.url", f"has more than {MAX_KEY_BYTES} bytes once it is filled in"),)
        raise InvalidRequest("The output's URL becomes too long.", errors=errors)
