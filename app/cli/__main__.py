"""`python -m app.cli` runs the same commands as `callscribe`."""

from app.cli.commands import main

main()
