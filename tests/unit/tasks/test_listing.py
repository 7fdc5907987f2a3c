"""Lists of tasks and their cursors."""

import time

import pytest

from shared.tasks import listing, settle, store
from tests.unit.tasks.test_life import new_task

pytestmark = pytest.mark.usefixtures("fake_aws")


def test_list_pages_through_a_users_tasks_newest_first() -> None:
    at = time.time()
    for n in range(7):
        store.submit(new_task(f"t{n}", created=at + n), "hello")
    store.submit(new_task("other", user="bob"), "hello")
    settle.cancel("t3", "ann")
    seen, cursor = listing.list_tasks("ann", limit=3)
    ids = [task["task_id"] for task in seen]
    while cursor:
        seen, cursor = listing.list_tasks("ann", limit=3, cursor=cursor)
        ids += [task["task_id"] for task in seen]
    assert ids == [f"t{n}" for n in reversed(range(7))]
    assert [task["task_id"] for task in listing.list_tasks("ann", limit=5, status="cancelled")[0]] == ["t3"]
    page, cursor = listing.list_tasks("ann", limit=2)
    assert len(page) == 2
    with pytest.raises(listing.BadCursor):
        listing.list_tasks("bob", limit=2, cursor=cursor)
    with pytest.raises(listing.BadCursor):
        listing.list_tasks("bob", limit=2, cursor="%%%")


def test_a_filtered_list_looks_at_so_many_tasks_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    at = time.time()
    for n in range(9):
        store.submit(new_task(f"t{n}", created=at + n), "hi")
    settle.cancel("t0", "ann")
    monkeypatch.setattr(listing, "LIST_PAGE", 2)
    monkeypatch.setattr(listing, "LOOKED_AT_ONCE", 4)
    pages, found, cursor = 0, [], None
    while pages == 0 or cursor:
        page, cursor = listing.list_tasks("ann", limit=5, status="cancelled", cursor=cursor)
        pages, found = pages + 1, [*found, *page]
    assert [task["task_id"] for task in found] == ["t0"]
    assert pages == 3  # of four, four and one
    monkeypatch.setattr(listing, "LOOKED_AT_ONCE", 100)
    assert len(listing.list_tasks("ann", limit=5, status="cancelled")[0]) == 1
