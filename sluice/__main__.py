"""``python -m sluice`` is the command `sluice`."""

from sluice.cli import main

main()
