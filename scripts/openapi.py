"""Writes docs/openapi.json from the routes: `.venv/bin/python scripts/openapi.py`."""

import json
from pathlib import Path

from app.api.app import create_app

DOCUMENT = Path(__file__).parent.parent / "docs" / "openapi.json"


def main() -> None:
    DOCUMENT.write_text(json.dumps(create_app().openapi(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
