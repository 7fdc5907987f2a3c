"""Writes a large object of S3 in parts, piece by piece, so that nobody needs to hold it whole.

It can be left off and gone on with: what is noted of it (`noted`) leads another process to the same place. Pieces given
before the place that was noted are in it, those after it are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.bulk import objects
from shared.errors import NotFound
from shared.settings import settings
from shared.tasks import blobs

PART_BYTES = 8 * 1024 * 1024
"""A part is written once it has so many bytes. S3 wants 5 MiB at least of each but the last, and takes 10,000 parts
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""


@dataclass(slots=True)
class Assembly:
    """An object that is being written.

    Every method raises `DependencyDown` when S3 is away, and `NotFound` if what was noted was made whole or given up.
    """

    key: str
    upload_id: str = ""
    etags: list[str] = field(default_factory=list)
    size: int = 0
    """Bytes that are in written parts."""
    _pieces: list[bytes] = field(default_factory=list)
    _held: int = 0

    @classmethod
    def resume(cls, key: str, noted: Sequence[Any]) -> Assembly:
        """Go on where another left off."""
        return cls(key, str(noted[0]), list(noted[1]), int(noted[2])) if noted else cls(key)

    @property
    def noted(self) -> list[Any]:
        """What leads back to the last written part."""
        return [self.upload_id, self.etags, self.size] if self.upload_id else []

    def add(self, piece: bytes) -> bool:
        """Take another piece; returns whether all that was given is in written parts now: a place to note."""
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held < PART_BYTES:
            return False
        self._write()
        return True

    def close(self) -> int:
        """Write what is left and make the object; returns its size."""
        size = self.size + self._held
        if not self.upload_id:
            self._call("put_object", Body=b"".join(self._pieces))
            return size
        if self._held:
            self._write()
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(self.etags, 1)]
        try:
            self._call("complete_multipart_upload", UploadId=self.upload_id, MultipartUpload={"Parts": parts})
        except NotFound:  # was it made whole, and only the answer lost?
            if objects.size(self.key) != size:
                raise
        return size

    def _write(self) -> None:
        if not self.upload_id:
            self.upload_id = self._call("create_multipart_upload")["UploadId"]
        number, body = len(self.etags) + 1, b"".join(self._pieces)
        self.etags.append(self._call("upload_part", UploadId=self.upload_id, PartNumber=number, Body=body)["ETag"])
        self.size += self._held
        self._pieces, self._held = [], 0

    def _call(self, method: str, **arguments: Any) -> Any:
        where = {"Bucket": settings().blob_bucket, "Key": self.key, **blobs.owner()}
        try:
            s3 = aws.s3()
            if method == "put_object":
                return s3.put_object(**where, **arguments)
            if method == "create_multipart_upload":
                return s3.create_multipart_upload(**where)
            if method == "upload_part":
                return s3.upload_part(**where, **arguments)
            return s3.complete_multipart_upload(**where, **arguments)
        except (ClientError, BotoCoreError) as error:
            if aws.error_code(error) == "NoSuchUpload":
                raise NotFound("the object is not being written any more") from error
            raise objects.away(error) from error
