"""Bundles go to S3 once each, and what was read and zipped before is not read and zipped again."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from deploy import packages
from deploy.packages import Digests, digest_of, files_of, package

FUNCTIONS = ("OneFunction", "TwoFunction", "OtherFunction")


class Shelf:
    """An S3 that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.meta: Any = None
        self.checksums: set[str | None] = set()

    def client(self, _: str, config: Any = None) -> "Shelf":
        self.checksums.add(config and config.request_checksum_calculation)
        return self

    def head_bucket(self, **_: Any) -> None:
        """Have any bucket."""

    def head_object(self, Key: str, **_: Any) -> None:
        if Key not in self.kept:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")

    def put_object(self, Key: str, Body: Any, **_: Any) -> None:
        self.kept[Key] = Body.read()

    def upload_file(self, file: str, _: str, key: str) -> None:
        self.kept[key] = Path(file).read_bytes()


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packages, "WORK", tmp_path)
    monkeypatch.setattr(packages, "BUILT", tmp_path / "built")
    for name in FUNCTIONS:
        folder = tmp_path / "built" / name
        folder.mkdir(parents=True)
        (folder / "code.py").write_text("x = 1\n" if name != "OtherFunction" else "x = 2\n")
    return tmp_path / "built"


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf()
    monkeypatch.setattr(boto3, "client", made.client)
    return made


def send() -> dict[str, str]:
    """Package a template; returns each function's key."""
    template: dict[str, Any] = {
        "Resources": {n: {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": n}} for n in FUNCTIONS}
    }
    package(template, "bucket")
    return {name: one["Properties"]["CodeUri"]["Key"] for name, one in template["Resources"].items()}


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1"])
def test_a_bundle_is_sent_once(built: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    keys = send()
    assert keys["OneFunction"] == keys["TwoFunction"] != keys["OtherFunction"]
    assert len(shelf.kept) == 2
    sent = dict.fromkeys(shelf.kept, b"as it was")
    shelf.kept |= sent
    assert send() == keys
    assert shelf.kept == sent
    assert shelf.checksums == {"when_required" if endpoint else None}  # through a network it has one


def test_a_changed_bundle_is_sent_as_it_is_now(built: Path, shelf: Shelf) -> None:
    before = send()
    (built / "OneFunction/code.py").write_text("x = 3\n")
    os.utime(built / "OneFunction/code.py", ns=(0, 1))  # written within a clock's grain of the first
    after = send()
    assert after["OneFunction"] != before["OneFunction"]
    assert after["TwoFunction"].split("/")[1] == before["TwoFunction"].split("/")[1]
    (built.parent / "zip").write_bytes(shelf.kept[after["OneFunction"]])
    with zipfile.ZipFile(built.parent / "zip") as found:
        assert found.read("code.py") == b"x = 3\n"
    zips = [path.name for path in (built.parent / ".build/zips").iterdir()]
    assert len([name for name in zips if name.startswith("OneFunction")]) == 1


def test_an_empty_account_gets_the_zips_of_earlier(built: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    send()
    sent = dict(shelf.kept)
    shelf.kept.clear()
    monkeypatch.setattr(packages, "zip_folder", lambda *_: pytest.fail("zipped again"))
    send()
    assert shelf.kept == sent


def test_digests_are_of_names_and_contents(built: Path, tmp_path: Path) -> None:
    known = Digests(tmp_path / "digests.json")
    assert digest_of(built / "OneFunction", known) == digest_of(built / "TwoFunction", known)
    (built / "TwoFunction/code.py").rename(built / "TwoFunction/other.py")
    assert digest_of(built / "OneFunction", known) != digest_of(built / "TwoFunction", known)
    known.keep()
    assert len(json.loads((tmp_path / "digests.json").read_text())) == 2
    assert digest_of(built / "OneFunction", Digests(tmp_path / "digests.json")) == digest_of(
        built / "OneFunction", Digests(tmp_path / "none.json")
    )


def test_digests_are_kept_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    known = Digests(tmp_path / "new" / "digests.json")
    (tmp_path / "one").write_text("1")
    found = known.of(tmp_path / "one")
    known.keep()
    (tmp_path / "one").chmod(0o600)
    assert Digests(tmp_path / "new" / "digests.json").of(tmp_path / "one") == found


def test_bytecode_that_comes_and_goes_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a/__pycache__").mkdir(parents=True)
    (tmp_path / "a/__pycache__/one.cpython-313.pyc.1").write_text("half")
    (tmp_path / "a/one.py").write_text("x = 1\n")
    assert [name for name, *_ in files_of(tmp_path)] == ["a/__pycache__/one.cpython-313.pyc.1", "a/one.py"]
    scan = os.scandir

    def looked_at(place: str) -> Any:
        assert "__pycache__" not in place
        return scan(place)

    monkeypatch.setattr(os, "scandir", looked_at)
    assert [name for name, *_ in files_of(tmp_path, bytecode=False)] == ["a/one.py"]
