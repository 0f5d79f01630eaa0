"""Prints rows in columns for people. Texts of clients cannot send commands to the terminal."""

from collections.abc import Sequence

import typer

LONGEST = 40


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    cells = [[_shown(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in [heads, *cells]) for column in range(len(heads))]
    for row in [heads, *cells]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Prints a name and a value on each line, without values that are None."""
    known = [(name, printable(value)) for name, value in facts if value is not None]
    width = max(len(name) for name, _ in known)
    for name, value in known:
        typer.echo(f"{name.ljust(width)}  {value}")


def printable(value: object) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value))


def _shown(value: object) -> str:
    text = "-" if value is None else printable(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
