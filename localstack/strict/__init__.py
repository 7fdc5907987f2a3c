"""A strict front: has the local AWS refuse what AWS refuses.

It lives in the emulator's process: its ASGI application is wrapped, and so are the two functions through which every
invocation goes. Each limit is an entry of `rules.RULES`, with the page of AWS's documentation that states it. A request
over a limit gets AWS's own answer, and is noted: the tests' fixture fails the run for what was noted.

Nothing here imports a package: it runs on the emulator's interpreter.
"""
