"""The reference work on other frameworks: one module each, run in an environment of their own (`make peers`).

Each run is one chat completion by `openai`, over a client made once per process, and stores its answer where a client
could fetch it. Modules here import nothing of Sluice.
"""
