"""The certificate authorities that this process trusts, read once for all of its HTTP clients.

Reading them takes 15 to 30 ms of a processor and some MB, a client each otherwise.
"""

import ssl
from functools import cache

import httpx2


@cache
def context() -> ssl.SSLContext:
    """Return the context that every client shares: none changes it but for the protocol it offers, HTTP/1.1."""
    return httpx2.create_ssl_context()
