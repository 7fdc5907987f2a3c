"""Files, with the real `openai` package: whole, in parts, and put to S3 by their client."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests

from functions.api.routes import files as routes
from shared import clock
from shared.bulk import assembly, files
from shared.bulk import objects as bucket
from shared.settings import settings
from tests.unit.api.conftest import Api
from tests.unit.api.test_openai import address, client
from tests.unit.tables import client as aws_client

__all__ = ["address", "client"]

LINES = b'{"custom_id": "a"}\r\n{"custom_id": "\xc3\xa4"}\n\x00--'


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    yield
    clock.set_ahead(0)


def setting(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    settings.cache_clear()


def objects() -> list[str]:
    return [one["Key"] for one in aws_client("s3").list_objects_v2(Bucket="sluice-blobs").get("Contents", [])]


def test_a_file_is_kept_as_it_was_sent(client: openai.OpenAI) -> None:
    made = client.files.create(file=("my lines.jsonl", LINES), purpose="batch")
    assert (made.object, made.bytes, made.filename, made.purpose, made.status) == (
        *("file", len(LINES), "my lines.jsonl", "batch", "processed"),
    )
    assert made.expires_at == made.created_at + 30 * 86_400
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == LINES
    assert [one.id for one in client.files.list()] == [made.id]
    assert client.files.delete(made.id).deleted
    assert list(client.files.list()) == []
    assert objects() == []
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_lists_go_by_pages(client: openai.OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.jsonl", b"x"), purpose="batch").id for n in range(5)]
    first = client.files.list(limit=2)
    assert first.has_more
    assert [one.id for one in client.files.list(limit=2)] == made[::-1]  # the client goes through all pages
    assert [one.id for one in client.files.list(limit=2, order="asc")] == made
    assert [one.id for one in client.files.list(after=made[1])] == made[:1]
    assert list(client.files.list(purpose="batch_output")) == []


def test_a_file_is_its_owners(client: openai.OpenAI, api: Api) -> None:
    made = client.files.create(file=("a.jsonl", b"secret"), purpose="batch")
    for method, path in (("get", ""), ("get", "/content"), ("delete", "")):
        got = api.client.request(method, f"/v1/files/{made.id}{path}", headers=api.head("other"))
        assert got.status_code == 404, path
    assert api.get("/v1/files", "other").json()["data"] == []
    of_service = api.client.post(
        "/v1/files?user_id=ann",
        files={"file": ("a", b"x")},
        data={"purpose": "batch"},
        headers=api.head("service"),
    ).json()
    assert api.get(f"/v1/files/{of_service['id']}", "service", user_id="ann").status_code == 200
    assert api.get(f"/v1/files/{of_service['id']}", "service", user_id="bob").status_code == 404


def test_a_file_expires(client: openai.OpenAI) -> None:
    made = client.files.create(
        file=("a.jsonl", b"x"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.expires_at == made.created_at + 3600
    clock.set_ahead(3599)
    assert client.files.retrieve(made.id)
    clock.set_ahead(3601)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)
    assert list(client.files.list()) == []


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"purpose": "fine-tune"}, "purpose"),
        ({"expires_after": {"anchor": "created_at", "seconds": 3599}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "created_at", "seconds": 2_592_001}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "last_use", "seconds": 3600}}, "expires_after.anchor"),
        ({"file": ("a.jsonl", b"")}, "bytes"),
        ({"file": ("a" * 256, b"x")}, "filename"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(client: openai.OpenAI, wrong: dict[str, Any], param: str) -> None:
    given: dict[str, Any] = {"file": ("a.jsonl", b"x"), "purpose": "batch"} | wrong
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(**given)
    assert refused.value.param == param
    assert objects() == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nno header\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' * 2 + b"--x--",
        ),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\nv\r\n--x--'),
        ("text/plain", b"hello"),
    ],
)
def test_no_file_is_made_of_a_broken_form(api: Api, content_type: str, body: bytes) -> None:
    got = api.client.post("/v1/files", content=body, headers=api.head() | {"content-type": content_type})
    assert got.status_code == 400, got.text
    assert got.json()["error"]["message"]
    assert api.get("/v1/files").json()["data"] == []


def test_a_file_in_a_request_is_bounded(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "DIRECT_BYTES", 10)
    assert client.files.create(file=("a", b"1234567890"), purpose="batch")
    with pytest.raises(openai.BadRequestError, match="upload_url"):
        client.files.create(file=("a", b"12345678901"), purpose="batch")


def test_files_have_a_largest_size_and_number(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, MAX_FILE_BYTES=10, MAX_FILES=2)
    made = client.files.create(file=("a", b"1234567890"), purpose="batch")
    with pytest.raises(openai.BadRequestError, match="10 bytes"):
        client.files.create(file=("a", b"12345678901"), purpose="batch")
    with pytest.raises(openai.BadRequestError, match="10 bytes"):
        client.uploads.create(bytes=11, filename="a", mime_type="x", purpose="batch")
    client.files.create(file=("b", b"1"), purpose="batch")
    with pytest.raises(openai.ConflictError, match="2 files"):
        client.with_options(max_retries=0).files.create(file=("c", b"1"), purpose="batch")
    client.files.delete(made.id)
    assert client.files.create(file=("c", b"1"), purpose="batch")


def test_a_large_file_is_downloaded_from_s3(client: openai.OpenAI, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = client.files.create(file=("a.jsonl", b"1234567890"), purpose="batch")
    monkeypatch.setattr(routes, "CONTENT_BYTES", 9)
    got = api.client.get(f"/v1/files/{made.id}/content", headers=api.head(), follow_redirects=False)
    assert got.status_code == 302
    assert f"/files/{made.id}?" in got.headers["location"]
    assert "X-Amz-Signature" in got.headers["location"]
    monkeypatch.setattr(routes, "CONTENT_BYTES", 10)
    assert client.files.content(made.id).read() == b"1234567890"


@pytest.mark.parametrize("size", [1, 5_000_000])
def test_a_files_address_can_be_asked_for(client: openai.OpenAI, api: Api, size: int) -> None:
    file = files.make("demo", filename='a "b".jsonl', purpose=files.OUTPUT, size=size, state="processed")
    files.store(file, b"x" * size)
    path = f"/v1/files/{file.file_id}/content"
    answer = api.get(path, link="true")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["expires_at"] == pytest.approx(clock.now() + settings().result_url_seconds, abs=5)
    fetched = requests.get(answer.json()["url"], timeout=60)
    assert (len(fetched.content), fetched.headers["content-disposition"]) == (
        *(size, 'attachment; filename="a \\"b\\".jsonl"'),
    )
    assert api.get(path, "other", link="true").status_code == 404
    assert api.get(path, None, link="true").status_code == 401


def test_a_client_may_put_the_content_to_s3_itself(client: openai.OpenAI, api: Api) -> None:
    asked = {"filename": "big.jsonl", "purpose": "batch", "bytes": 5}
    made = api.client.post("/v1/files", json=asked, headers=api.head()).json()
    assert made["status"] == "uploaded"
    assert made["upload_method"] == "PUT"
    assert "content-length" in made["upload_url"]
    assert client.files.retrieve(made["id"]).status == "uploaded"
    with pytest.raises(openai.ConflictError):
        client.with_options(max_retries=0).files.content(made["id"])
    key = f"files/{made['id']}"
    aws_client("s3").put_object(Bucket="sluice-blobs", Key=key, Body=b"12345")
    assert client.files.retrieve(made["id"]).status == "processed"
    assert client.files.content(made["id"]).read() == b"12345"

    short = api.client.post("/v1/files", json=asked, headers=api.head()).json()
    aws_client("s3").put_object(Bucket="sluice-blobs", Key=f"files/{short['id']}", Body=b"1234")
    found = client.files.retrieve(short["id"])
    assert (found.status, found.status_details) == ("error", "5 bytes were announced, and 4 came")


def test_a_file_comes_in_parts(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "PART_BYTES", 5 * 1024 * 1024)
    content = bytes(range(256)) * 30_000
    digest = hashlib.md5(content).hexdigest()
    upload = client.uploads.upload_file_chunked(
        file=content,
        filename="big.jsonl",
        bytes=len(content),
        mime_type="application/jsonl",
        purpose="batch",
        part_size=4 * 1024 * 1024,
        md5=digest,
    )
    assert upload.status == "completed"
    assert upload.file is not None
    assert client.files.retrieve(upload.file.id).bytes == len(content)
    assert bucket.read(f"files/{upload.file.id}") == content
    assert objects() == [f"files/{upload.file.id}"]  # the parts are gone


def test_parts_must_make_what_was_announced(client: openai.OpenAI) -> None:
    client = client.with_options(max_retries=0)
    upload = client.uploads.create(bytes=4, filename="a", mime_type="x", purpose="batch")
    first = client.uploads.parts.create(upload.id, data=b"ab")
    with pytest.raises(openai.BadRequestError, match="announced"):
        client.uploads.parts.create(upload.id, data=b"cde")
    second = client.uploads.parts.create(upload.id, data=b"cd")
    for wrong in ([first.id], [first.id, first.id], [first.id, "part_x"], ["nothing", second.id]):
        with pytest.raises(openai.BadRequestError):
            client.uploads.complete(upload.id, part_ids=wrong)
    with pytest.raises(openai.BadRequestError, match="md5"):
        client.uploads.complete(upload.id, part_ids=[second.id, first.id], md5="0" * 32)
    done = client.uploads.complete(upload.id, part_ids=[second.id, first.id])
    again = client.uploads.complete(upload.id, part_ids=[second.id, first.id])
    assert done.file is not None
    assert again.file == done.file
    assert client.files.content(done.file.id).read() == b"cdab"
    for late in (lambda: client.uploads.cancel(upload.id), lambda: client.uploads.parts.create(upload.id, data=b"a")):
        with pytest.raises(openai.ConflictError):
            late()


def test_an_upload_can_be_given_up_and_expires(client: openai.OpenAI) -> None:
    client = client.with_options(max_retries=0)
    upload = client.uploads.create(bytes=4, filename="a", mime_type="x", purpose="batch")
    part = client.uploads.parts.create(upload.id, data=b"abcd")
    assert client.uploads.cancel(upload.id).status == "cancelled"
    assert client.uploads.cancel(upload.id).status == "cancelled"
    assert objects() == []
    with pytest.raises(openai.ConflictError):
        client.uploads.complete(upload.id, part_ids=[part.id])
    late = client.uploads.create(bytes=4, filename="a", mime_type="x", purpose="batch")
    part = client.uploads.parts.create(late.id, data=b"abcd")
    clock.set_ahead(3600)
    with pytest.raises(openai.ConflictError, match="expired"):
        client.uploads.complete(late.id, part_ids=[part.id])


def test_erasing_a_users_data_erases_files_and_parts(client: openai.OpenAI, api: Api) -> None:
    client.files.create(file=("a", b"x"), purpose="batch")
    upload = client.uploads.create(bytes=4, filename="a", mime_type="x", purpose="batch")
    client.uploads.parts.create(upload.id, data=b"ab")
    assert len(objects()) == 2
    assert api.delete("/me/data").status_code == 200
    assert objects() == []
    assert list(client.files.list()) == []
