"""Started by ``start`` in place of the managed runtime."""

from functions.api.streaming.loop import main

main()
