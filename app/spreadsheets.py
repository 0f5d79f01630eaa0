"""What programs of spreadsheets need to open a CSV file as it is meant. Pure."""

# Without it, spreadsheets take the letters of other languages for those of an old Windows.
BYTE_ORDER_MARK = "\ufeff"
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guarded(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it, which spreadsheets do not show."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
