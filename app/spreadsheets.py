"""What programs of spreadsheets must not take for a formula when they open a CSV file. Pure."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guarded(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it, which spreadsheets do not show."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
