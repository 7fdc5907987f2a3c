"""Puts the built bundles where CloudFormation finds them, each once: a bundle that did not change is not sent again."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from deploy.paths import BUILT, WORK

SENDERS = 3
"""Bundles that are sent at a time: while one is digested for its signature, another is received."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Digests:
    """Digests of files that were read before: bundles share their packages, and most of them stay from time to time.

    A file is known by its inode, its length and when it was last written.
    """

    def __init__(self, place: Path) -> None:
        """Go on with what was kept there, if anything was."""
        self._place = place
        self._known: dict[str, str] = json.loads(place.read_text()) if place.exists() else {}
        self._used: dict[str, str] = {}

    def of(self, path: Path | str, about: os.stat_result | None = None) -> str:
        """Return the digest of a file's contents; ``about``: what is known of the file."""
        about = about or os.stat(path)
        identity = f"{about.st_dev} {about.st_ino} {about.st_size} {about.st_mtime_ns}"
        found = self._used.get(identity) or self._known.get(identity)
        if found is None:
            found = hashlib.sha256(contents(path)).hexdigest()[:32]
        self._used[identity] = found
        return found

    def keep(self) -> None:
        """Keep those that were asked for."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        work = self._place.with_suffix(f".{os.getpid()}.tmp")
        work.write_text(json.dumps(self._used))
        work.rename(self._place)


def digest_of(folder: Path, known: Digests) -> str:
    """Digest a bundle's names and contents."""
    digest = hashlib.sha256()
    for name, path, about in files_of(folder):
        digest.update(f"{name}\0{known.of(path, about)}\0".encode())
    return digest.hexdigest()[:24]


def zip_folder(folder: Path, target: Path) -> None:
    """Zip a bundle: the same bytes for the same files, whenever they were made."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, path, about in files_of(folder):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = (0o755 if about.st_mode & 0o100 else 0o644) << 16
            archive.writestr(info, contents(path))


def contents(path: Path | str) -> bytes:
    """Return a file's contents. Not by `Path.read_bytes`: that costs more than to read a file of a bundle does."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


def files_of(folder: Path, *, bytecode: bool = True) -> list[tuple[str, str, os.stat_result]]:
    """Return a folder's files: their names below it, by which they are sorted, and their paths, which are mere texts.

    Not by `Path.rglob`, that takes ten times as long.

    Without ``bytecode`` no ``__pycache__`` is looked into: of what is imported meanwhile, files come and go there.
    """
    found: list[tuple[str, str, os.stat_result]] = []
    within = [("", str(folder))]
    while within:
        below, place = within.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir():
                    if bytecode or entry.name != "__pycache__":
                        within.append((f"{below}{entry.name}/", entry.path))
                elif entry.is_file():
                    found.append((below + entry.name, entry.path, entry.stat()))
    return sorted(found, key=lambda one: one[0])


def _where(region: str) -> dict[str, Any]:
    """Return what S3 demands everywhere but in its first region."""
    return {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}


def package(template: dict[str, Any], bucket: str) -> None:
    """Upload every bundle that the bucket does not hold and point the template at it."""
    # What is beside us comes whole: to make a checksum of 200 MB here, and to check it there, takes half a second.
    config = Config(request_checksum_calculation="when_required") if _beside_us() else None
    s3: Any = boto3.client("s3", config=config)
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError:
        s3.create_bucket(Bucket=bucket, **_where(s3.meta.region_name))
    known = Digests(WORK / ".build" / "digests.json")
    sent: dict[str, str] = {}
    with ThreadPoolExecutor(SENDERS) as pool:
        sending = []
        for name, resource in template["Resources"].items():
            if resource["Type"] != "AWS::Serverless::Function":
                continue
            folder = BUILT / str(resource["Properties"]["CodeUri"])
            digest = digest_of(folder, known)
            if digest not in sent:  # two functions may have the same bundle
                sent[digest] = f"{name}/{digest}.zip"
                sending.append(pool.submit(_send_unless_there, s3, folder, name, digest, bucket, sent[digest]))
            resource["Properties"]["CodeUri"] = {"Bucket": bucket, "Key": sent[digest]}
        known.keep()
        for one in sending:
            one.result()


def _send_unless_there(s3: Any, folder: Path, name: str, digest: str, bucket: str, key: str) -> None:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError:
        _send(s3, zipped(folder, name, digest), bucket, key)


def zipped(folder: Path, name: str, digest: str) -> Path:
    """Return a bundle's zip: the one that is there from an earlier time, or made now in place of older ones."""
    target = WORK / ".build" / "zips" / f"{name}-{digest}.zip"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        for older in target.parent.glob(f"{name}*.zip"):
            older.unlink(missing_ok=True)
        work = target.with_suffix(f".{os.getpid()}.tmp")
        zip_folder(folder, work)
        work.rename(target)
    return target


def _beside_us() -> bool:
    return bool(os.environ.get("AWS_ENDPOINT_URL"))


def _send(s3: Any, file: Path, bucket: str, key: str) -> None:
    if _beside_us():  # in parts would take a third longer
        with file.open("rb") as body:
            s3.put_object(Bucket=bucket, Key=key, Body=body)
    else:
        s3.upload_file(str(file), bucket, key)
