"""A part of a file, or a whole one, whose answer alone was lost, is neither refused nor counted twice."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from shared import aws
from shared.bulk import assembly, objects, uploads
from shared.errors import DependencyDown, NotFound
from shared.tasks import table
from shared.tasks.ranges import under
from tests.unit.losing import lose_answer

pytestmark = pytest.mark.usefixtures("fake_aws")


def an_upload(size: int) -> str:
    return uploads.begin("ann", filename="f", purpose="batch", size=size, seconds=None).upload_id


def test_a_part_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one had no room."""
    upload = an_upload(4)
    lost = lose_answer(monkeypatch, "UpdateItem")
    parts = [uploads.add("ann", upload, text)["id"] for text in (b"ab", b"cd")]
    assert lost
    with pytest.raises(uploads.BadParts):
        uploads.add("ann", upload, b"e")
    assert uploads.complete("ann", upload, parts, None)[1].size == 4


def test_a_last_part_is_not_refused_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    upload = an_upload(2)
    lost = lose_answer(monkeypatch, "UpdateItem")
    part = uploads.add("ann", upload, b"ab")["id"]
    assert lost
    assert uploads.complete("ann", upload, [part], None)[1].size == 2


def test_an_upload_that_was_given_up_is(monkeypatch: pytest.MonkeyPatch) -> None:
    upload = an_upload(2)
    uploads.add("ann", upload, b"ab")
    lost = lose_answer(monkeypatch, "UpdateItem")
    assert uploads.cancel("ann", upload).state == "cancelled"
    assert lost
    assert not list(table.query(**under("FILES#ann", begins=f"{upload}#")))


def test_a_part_that_was_not_kept_may_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client sends it once more after a 503, and was told that there was no room for it."""
    upload = an_upload(2)
    with monkeypatch.context() as away:
        away.setattr(assembly.Assembly, "close", lambda whole: raises(DependencyDown("s3")))
        for _ in range(2):
            with pytest.raises(DependencyDown):
                uploads.add("ann", upload, b"ab")
    part = uploads.add("ann", upload, b"ab")["id"]
    assert uploads.complete("ann", upload, [part], None)[1].size == 2


def raises(error: Exception) -> None:
    raise error


MIB_5 = 5 * 1024 * 1024
"""S3 takes no smaller part but the last."""


@pytest.mark.parametrize("made", [True, False])
def test_an_object_that_was_made_whole_is(monkeypatch: pytest.MonkeyPatch, made: bool) -> None:
    """S3 says of what was made whole, as of what was given up, that it is not being written."""
    monkeypatch.setattr(assembly, "PART_BYTES", MIB_5)
    whole = assembly.Assembly("files/x")
    assert whole.add(b"a" * MIB_5)
    assert not whole.add(b"b")
    s3 = aws.s3()
    complete = s3.complete_multipart_upload

    def asked_again(**what: Any) -> None:
        if made:
            complete(**what)
        told: Any = {"Error": {"Code": "NoSuchUpload"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
        raise ClientError(told, "CompleteMultipartUpload")

    monkeypatch.setattr(s3, "complete_multipart_upload", asked_again)
    if made:
        assert whole.close() == MIB_5 + 1
        assert objects.size("files/x") == MIB_5 + 1
    else:
        with pytest.raises(NotFound):  # whoever goes on with it begins anew
            whole.close()
