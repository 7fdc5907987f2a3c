"""A connection that its server closed while it was idle is not used again; one that stands is."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from functions.worker.environment import clients
from functions.worker.environment.idle_sockets import _Backend, _Stream, watched

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def certificate(folder: Path) -> Path:
    """Make a certificate of this address, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    at = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - datetime.timedelta(hours=1))
        .not_valid_after(at + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_the_model_client_makes_such_connections() -> None:
    clients.http.cache_clear()
    try:
        assert type(clients.http()._transport._pool._network_backend) is _Backend  # type: ignore[attr-defined]
        asyncio.run(clients.http().aclose())
    finally:
        clients.http.cache_clear()


@pytest.mark.parametrize("tls", [False, True])
def test_a_connection_is_used_again_until_its_server_closes_it(tls: bool, tmp_path: Path) -> None:
    served = client_side = None
    if tls:
        pem = certificate(tmp_path)
        served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        served.load_cert_chain(pem)
        client_side = ssl.create_default_context(cafile=pem)

    async def main() -> None:
        writers: list[asyncio.StreamWriter] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWER)
                await writer.drain()

        async def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await serve(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(ended, "127.0.0.1", 0, ssl=served)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with watched(httpx2.AsyncClient(verify=client_side or True)) as client:
            assert type(client._transport._pool._network_backend) is _Backend  # type: ignore[attr-defined]
            for _ in range(3):
                answer = await client.get(url)
                assert answer.text == "hi"
                assert isinstance(answer.extensions["network_stream"], _Stream)
            assert len(writers) == 1
            writers[0].close()
            await asyncio.sleep(0.05)
            assert (await client.get(url)).text == "hi"
            assert len(writers) == 2
        for writer in writers:
            writer.transport.abort()
        server.close()
        await server.wait_closed()

    asyncio.run(main())
