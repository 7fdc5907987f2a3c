"""What a run needs that waits past the usual time is kept, as it was."""

from __future__ import annotations

from typing import Any

import pytest

from functions.sweeper.keep import keep
from shared import aws
from shared.settings import settings
from shared.tasks import blobs, table

pytestmark = pytest.mark.usefixtures("fake_aws")


def test_an_object_is_made_young_in_the_accounts_own_bucket_and_stays_what_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = blobs.put_plain("an answer", "tasks/task_1/response", "text/plain; charset=utf-8")
    row = {"pk": {"S": "TASK#task_1"}, "sk": {"S": "BLOB#response"}, "ttl": {"N": "1000"}, **where}
    table.put(table.put_op(row))
    monkeypatch.setenv("BLOB_BUCKET_OWNER", "123456789012")
    settings.cache_clear()
    asked: list[dict[str, Any]] = []
    client = aws.s3()
    for name in ("get_object", "put_object"):
        real = getattr(client, name)
        monkeypatch.setattr(client, name, lambda real=real, **what: asked.append(what) or real(**what))
    keep("task_1", 5_000.0)
    assert [what["ExpectedBucketOwner"] for what in asked] == ["123456789012"] * 2
    kept = client.get_object(Bucket=settings().blob_bucket, Key=where["s3"]["S"])
    assert kept["ContentType"] == "text/plain; charset=utf-8"
    assert kept["Body"].read() == b"an answer"
    found = table.get({"pk": row["pk"], "sk": row["sk"]})
    assert found is not None
    assert found["ttl"] == {"N": "5000"}
