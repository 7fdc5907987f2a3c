"""HTTP/1.1 for model calls, as a transport under `httpx2`, and so under `openai`.

The transport that comes with httpx2 walks through every connection of its pool at the beginning and at the end of each
request, and passes each piece through a dozen layers: with a hundred calls at once that was half of a worker's
processor time. This one is asyncio's own protocols with a C parser, and a pool that looks at one connection.
"""
