"""The middle of a batch's life: lines leave the file, become tasks where there is room, and their ends are written.

One look at a batch does three things, in this order. It writes down which lines have ended and which are taken from
the file, in one commit. It makes tasks of lines taken, as far as there is room. It notes what became of that. A line
that was taken and has no task gets one at the next look: its task's id follows from the batch and the line, so that
none is doubled.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from functions.api.bulk import making, output
from functions.api.bulk.lines import fault_of, read_line, read_through
from functions.api.bulk.output import Answer
from functions.api.control.cancel import cancel
from functions.api.door.identity import Caller
from shared.bulk import room, store
from shared.bulk.model import Batch, Line, line_task_id
from shared.clock import now
from shared.errors import DependencyDown, NewerVersion, NotFound
from shared.limits import keys
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import table
from shared.tasks.items import read_task, row_key
from shared.tasks.model import Task, dumps

PIECE_BYTES = 8 * 1024 * 1024
"""Answers of so many bytes are written down at one look; further ones at the next."""
BLOCK_BYTES = 256 * 1024
"""How much of the file is read at a time."""
DRAINED = 2_000
"""Lines that one look ends without running them."""
MAKERS = 8
"""Tasks written at the same time."""
TEXT_BYTES = 16 * 1024 * 1024
"""Bytes of lines that one look takes from the file, and makes tasks of: they are held in memory. One line at least."""
LINE_NOTE_BYTES = 40
"""What a line takes of the batch's row beside its ``custom_id``."""
OPEN_BYTES = 200_000
"""What the lines under way may take of the batch's row, as JSON; an item of DynamoDB has 400 KB. One line at least."""

GONE = "input_file_gone"
"""Why no further line is run of a batch whose file was deleted."""

_log = get_logger("bulk")


@dataclass(slots=True)
class _Ends:
    """Lines that ended at this look."""

    batch: Batch
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    size: int = 0
    open: dict[int, Line] = field(default_factory=dict)
    usage: dict[str, int] = field(default_factory=dict)

    def take(self, number: int, answer: Answer) -> None:
        self.open.pop(number, None)
        (self.out if answer.good else self.err).append(answer.text)
        self.size += len(answer.text)
        for name, n in answer.used.items():
            self.usage[name] = self.usage.get(name, 0) + n

    def commit(self, **values: object) -> Batch:
        """Write it all down."""
        batch = self.batch.changed(
            completed=self.batch.completed + len(self.out),
            failed=self.batch.failed + len(self.err),
            open=self.open,
            usage=self.usage,
            **values,
        )
        return store.commit(batch, out="".join(self.out), err="".join(self.err))


def advance(batch: Batch) -> tuple[Batch, str]:
    """Look at a batch's lines; returns it, and when to look again: ``now``, ``again`` soon, or when a line ends.

    Raises:
        LeaseLost, Contended, DependencyDown: what was committed stands, and the next look goes on from there.
    """
    caller = _caller(batch)
    if caller is None and not batch.ending:
        batch = batch.changed(ending="invalid_api_key")
    running, ends, more = _ended(batch)
    fresh: dict[int, bytes] = {}
    try:
        values = _drain(batch, ends) if batch.ending else _refill(batch, ends, fresh)
    except NotFound:
        values = {"ending": GONE}
    if GONE in (values.get("ending"), batch.ending):
        values = _give_up(batch, ends)
    batch = ends.commit(**values)
    if batch.whole:
        return store.commit(batch.reached("finalizing", now())), "now"
    if more or (batch.ending and batch.number < batch.total):
        return batch, "now"
    if batch.ending or caller is None:
        return batch, "again"
    return _make(batch, caller, fresh, running)


def _give_up(batch: Batch, ends: _Ends) -> dict[str, object]:
    """Count all lines as failed that have not run: what they say, and who they are, is gone with their file."""
    lost = [n for n, line in ends.open.items() if not line.made]
    for number in lost:
        del ends.open[number]
    failed = batch.failed + len(lost) + batch.total - batch.number
    error = {
        "code": "file_not_found",
        "line": None,
        "message": "the file was deleted while the batch ran",
        "param": None,
    }
    ends.batch = batch.changed(failed=failed, number=batch.total)
    return {"ending": GONE, "errors": [error]}


def _caller(batch: Batch) -> Caller | None:
    identity = keys.of_digest(batch.key)
    return None if identity is None else Caller(batch.user, identity.user, identity.key_id, identity.limits)


def _ended(batch: Batch) -> tuple[int, _Ends, bool]:
    """See how the lines stand that were taken; returns how many run, which ended, and whether some are left over."""
    ends = _Ends(batch, open=dict(batch.open), usage=dict(batch.usage))
    tasks = _tasks(batch)
    running, more = 0, False
    for number, line in sorted(batch.open.items()):
        task_id = line_task_id(batch.batch_id, number)
        task = tasks.get(task_id)
        if task is None:
            if line.made:
                ends.take(number, output.without(task_id, line.custom_id, "deleted"))
            elif batch.ending in output.ENDINGS:
                ends.take(number, output.without(task_id, line.custom_id, batch.ending))
            continue
        if isinstance(task, str):
            running += 1
            continue
        if batch.ending in ("cancelled", "expired") and not task.status.terminal:
            task = cancel(task)
        if not task.status.terminal:
            ends.open[number] = replace(line, made=True)
            running += 1
        elif ends.size < PIECE_BYTES:
            ends.take(number, output.of_task(task, line.custom_id, batch.endpoint, batch.ending))
        else:
            ends.open[number] = replace(line, made=True)
            more = True
    return running, ends, more


def _tasks(batch: Batch) -> dict[str, Task | str]:
    """Read the tasks of the lines under way, those that are there; one of a newer version is only known to be."""
    wanted = [row_key(line_task_id(batch.batch_id, n)) for n in batch.open]
    found: dict[str, Task | str] = {}
    for row in table.get_many(wanted):
        task_id = row["pk"]["S"].removeprefix("TASK#")
        try:
            found[task_id] = read_task(row)
        except NewerVersion:
            found[task_id] = "newer"
    return found


def _refill(batch: Batch, ends: _Ends, fresh: dict[int, bytes]) -> dict[str, object]:
    """Take further lines from the file, as many as the window holds; ``fresh`` gets what they say."""
    number, offset, wanted, held = batch.number, batch.offset, settings().batch_window - len(ends.open), 0
    written = sum(map(_written, ends.open.values()))
    if wanted <= 0 or number >= batch.total or written >= OPEN_BYTES:
        return {}
    for at, raw in read_through(f"files/{batch.file_id}", offset, batch.size, BLOCK_BYTES):
        offset = at + len(raw) + 1
        if raw.strip():
            ends.open[number] = Line(at, len(raw), _custom_id(raw, batch.endpoint))
            fresh[number] = raw
            written += _written(ends.open[number])
            number += 1
            wanted -= 1
            held += len(raw)
        if wanted <= 0 or number >= batch.total or held >= TEXT_BYTES or written >= OPEN_BYTES:
            break
    return {"number": number, "offset": offset}


def _written(line: Line) -> int:
    """Return about how many bytes a line takes of the row."""
    return len(dumps(line.custom_id).encode("utf-8", "surrogatepass")) + LINE_NOTE_BYTES


def _drain(batch: Batch, ends: _Ends) -> dict[str, object]:
    """End lines that are still in the file, without running them."""
    number, offset = batch.number, batch.offset
    if batch.ending not in output.ENDINGS or number >= batch.total:
        return {}
    for at, raw in read_through(f"files/{batch.file_id}", offset, batch.size, BLOCK_BYTES):
        offset = at + len(raw) + 1
        if raw.strip():
            task_id = line_task_id(batch.batch_id, number)
            ends.take(number, output.without(task_id, _custom_id(raw, batch.endpoint), batch.ending))
            number += 1
        if number >= batch.total or number - batch.number >= DRAINED or ends.size >= PIECE_BYTES:
            break
    return {"number": number, "offset": offset, "ending": batch.ending}


def _custom_id(raw: bytes, endpoint: str) -> str:
    found = fault_of(raw, endpoint)
    if not isinstance(found, str):  # it was validated: the file is another than it was
        raise NotFound("the file has changed")
    return found


def _held(batch: Batch, numbers: list[int]) -> list[int]:
    """Return the first of these lines, as many as may be held in memory together, one at least."""
    size = 0
    for n, number in enumerate(numbers):
        size += batch.open[number].size
        if size > TEXT_BYTES and n:
            return numbers[:n]
    return numbers


def _make(batch: Batch, caller: Caller, fresh: dict[int, bytes], running: int) -> tuple[Batch, str]:
    """Make tasks of lines that have none, as far as there is room."""
    waiting = [n for n, line in sorted(batch.open.items()) if not line.made]
    try:
        lane = room.look(batch.user, batch.batch_id)
    except DependencyDown as error:
        _log.warning("a batch waits", extra={"batch_id": batch.batch_id, "error": error.message})
        return batch, "again"
    chosen = _held(batch, waiting[: room.allowance(lane, running, settings().bulk_share)])
    if not chosen:
        return batch, "again" if waiting else ""
    ends = _Ends(batch, open=dict(batch.open), usage=dict(batch.usage))
    key = f"files/{batch.file_id}"

    def one(number: int) -> making.Made:
        raw = fresh.get(number) or read_line(key, batch.open[number])
        return making.make(caller, batch, number, raw)

    try:
        with ThreadPoolExecutor(MAKERS, thread_name_prefix="line") as pool:
            found = list(zip(chosen, pool.map(one, chosen), strict=True))
    except NotFound:
        return store.commit(batch.changed(ending=GONE)), "now"
    values: dict[str, object] = {}
    left = running + sum(made.what == "made" for _, made in found)
    for number, made in found:
        if made.what == "made":
            ends.open[number] = replace(batch.open[number], made=True)
        elif made.problem is not None:
            task_id = line_task_id(batch.batch_id, number)
            ends.take(number, output.of_problem(task_id, batch.open[number].custom_id, made.problem))
        elif made.what == "spent" and left == 0:
            values["ending"] = "insufficient_quota"  # nothing runs whose reservation could come back
    batch = ends.commit(**values)
    if ends.err or values:
        return batch, "now"
    return batch, "again" if left - running < len(waiting) else ""
