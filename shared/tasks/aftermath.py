"""What follows the end of a task: counters, the user's next parked task, the webhook, live watchers.

None of it can fail the task, which has ended; the sweeper repairs what is lost here.
"""

from collections.abc import Callable, Sequence

from shared import traces, watchers, webhooks
from shared.errors import Contended, DependencyDown, NewerVersion, NotFound
from shared.limits.admission import UNSETTLED, Gate
from shared.logs import get_logger
from shared.tasks import days, owed, parking, spend, store, succession
from shared.tasks.model import Task
from shared.valkey import RedisError

type Counted = tuple[bool, list[tuple[str, int]]]
"""What `Gate.settled` says: whether others wait for a slot, and whose day has come to a threshold."""

_log = get_logger("aftermath")


def finished(gate: Gate, task: Task, *, watched: bool = True, late: Callable[[Task], object] | None = None) -> bool:
    """See to what follows a task that just ended; returns what ``announce`` returns.

    ``watched`` is false for whoever looked after the end, and found that nobody watches. ``late`` is told of the task
    if `follow_up` has to be called again, a moment later.
    Whoever calls this may die half-way. The webhook is durable (`owed.GRACE_SECONDS`), counters are found
    open by the sweeper, and so are watchers, by the counters that are settled last.
    """
    announced = announce(task)
    if not follow_up(gate, task, watched=watched) and late is not None:
        late(task)
    return announced


def follow_up(gate: Gate, task: Task, *, watched: bool = True) -> bool:
    """Tell watchers and settle counters; a second time does no harm. False if Valkey, or a watcher, was not told."""
    told = watchers.finish(task.task_id) if watched else True
    (counted,) = count(gate, [task])
    if not told:
        try:
            gate.look_again(task.user, task.task_id, task.day)
        except RedisError as error:
            _not_counted(task, error)
    go_on(gate, task, counted)
    return told and settled(counted)


def settled(counted: Counted) -> bool:
    """Whether Valkey was told of the end."""
    return counted is not UNSETTLED


def count(gate: Gate, tasks: Sequence[Task]) -> list[Counted]:
    """Settle the counters of tasks that just ended, in few round trips; says what came of each, by position."""
    return gate.settled_all(
        [(task.user, task.task_id, task.day, *days.uncounted(task), spend.caps_of(task)) for task in tasks]
    )


def goes_on(task: Task, counted: Counted) -> bool:
    """Tell whether anything follows the end of a task whose counters are settled."""
    others_wait, alerting = counted
    relatives = task.session_id or task.parent or task.may_leave_children
    return bool(others_wait or alerting or relatives or task.batch)


def go_on(gate: Gate, task: Task, counted: Counted) -> None:
    """See to what follows the end of a task whose counters are settled: who waits for it, who is to be told."""
    others_wait, alerting = counted
    try:
        if alerting:
            from shared.alerts import noticing  # here: few runs pass a threshold

            noticing.notice(alerting, task.day)
        if (task.session_id or task.parent) and (follower := succession.follower_of(task)):
            _next_in_line(gate, task, follower)
        if others_wait:
            parking.unpark_next(gate, task.user, task.running_cap)
    except (RedisError, DependencyDown, Contended) as error:
        _not_counted(task, error)
    if task.batch:
        from shared.bulk import pokes  # here: few tasks are lines of a batch

        pokes.ended(task)
    if task.parent or task.may_leave_children:
        from shared.tasks import kin  # here: few tasks have relatives

        kin.relatives(gate, task, finished)


def _not_counted(task: Task, error: Exception) -> None:
    _log.warning("counters not settled", extra={"task_id": task.task_id, "error": str(error)})


def announce(task: Task) -> bool:
    """Enqueue an ended task's webhook, if it asked for one, and its trace, if there is a collector.

    A second time does no harm, as the ids are the same. Returns False when SQS refused. Unless it is a dead
    letter the sweeper enqueues it then.
    """
    if not owed.telling(task):
        return True
    try:
        webhooks.enqueue(task)
        traces.enqueue(task)
    except DependencyDown as error:
        _log.error("webhook not enqueued", extra={"task_id": task.task_id, "error": error.message})
        return False
    try:
        owed.told(task)
    except (DependencyDown, Contended) as error:
        _log.warning("webhook not noted", extra={"task_id": task.task_id, "error": error.message})
    return True


def _next_in_line(gate: Gate, ended: Task, follower: str) -> None:
    """Let who waited for a task go on; if that waited itself until its end, they wait for the same now."""
    if ended.after:
        try:
            behind = store.get(follower)
        except (NotFound, NewerVersion):
            return
        if behind.after and succession.follow(behind):
            return
    parking.wake(gate, follower)
