"""`python -m app.cli`, the same as `callscribe`."""

from app.cli.commands import main

main()
