"""Puts the built bundles where CloudFormation finds them, each once: a bundle that did not change is not sent again."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from deploy.paths import WORK

BUILT = WORK / ".aws-sam" / "build"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def digest_of(folder: Path, known: dict[tuple[int, int], bytes]) -> str:
    """Digest a bundle's names and contents. ``known`` remembers files by inode: bundles share their dependencies."""
    digest = hashlib.sha256()
    for path in _files(folder):
        about = path.stat()
        identity = (about.st_dev, about.st_ino)
        if identity not in known:
            known[identity] = hashlib.sha256(path.read_bytes()).digest()
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + known[identity])
    return digest.hexdigest()[:24]


def zip_folder(folder: Path, target: Path) -> None:
    """Zip a bundle: the same bytes for the same files, whenever they were made."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in _files(folder):
            info = zipfile.ZipInfo(str(path.relative_to(folder)), _EPOCH)
            info.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
            archive.writestr(info, path.read_bytes())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _where(region: str) -> dict[str, Any]:
    """Return what S3 demands everywhere but in its first region."""
    return {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}


def package(template: dict[str, Any], bucket: str) -> None:
    """Upload every bundle that the bucket does not hold and point the template at it."""
    s3: Any = boto3.client("s3")
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError:
        s3.create_bucket(Bucket=bucket, **_where(s3.meta.region_name))
    zips = WORK / ".build" / "zips"
    zips.mkdir(parents=True, exist_ok=True)
    known: dict[tuple[int, int], bytes] = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        folder = BUILT / str(resource["Properties"]["CodeUri"])
        key = f"bundles/{digest_of(folder, known)}.zip"  # the API's and the streaming function's are the same
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except ClientError:
            zip_folder(folder, zips / f"{name}.zip")
            s3.upload_file(str(zips / f"{name}.zip"), bucket, key)
        resource["Properties"]["CodeUri"] = {"Bucket": bucket, "Key": key}
