"""The spans of an ended run, out of its row and its events: the run, its model calls, tools, steps, waits, children.

The run's children are runs of their own, and exported at their own ends: below the step of their parent that started
them, whose span is known beforehand (`shared.traceparent`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from functions.webhook.traces import names
from functions.webhook.traces.spans import Note, Span, Value
from shared import traceparent
from shared.clock import epoch
from shared.settings import settings
from shared.tasks.events import Event, is_written
from shared.tasks.model import Task
from shared.traceparent import RUN, STEP

MOST_SPANS = 5_000
"""Most spans of one run; of the steps of a longer one the last are left out, and their number is told."""
MOST_NOTES = 200
"""Most retries, deferrals and resumptions that a run's span tells of: the first ones."""
NOTED = frozenset({"started", "resumed", "retry", "deferred", "signal_refused"})
WAITS = frozenset({"sleep", "signal", "approval", "children"})
"""Kinds of steps before which a run waits."""
CUT, CANCELLED = "not_recorded", "cancelled"


class Tree:
    """Reads a run's events in their order. ``children_began`` tells when a step began to start them."""

    def __init__(self, task: Task, children_began: Callable[[str, int], float | None]) -> None:
        self._task = task
        self._children_began = children_began
        self._place = traceparent.of_task(task)
        self._run = traceparent.span_id(task.task_id, RUN)
        self._spans: list[Span] = []
        self._dropped = 0
        self._notes: list[Note] = []
        self._tools: dict[tuple[str, int], Event] = {}
        self._waits: dict[tuple[str, str, str], None] = {}
        """What it waited for and is not known to have got: kind, name, since when."""
        self._texts: dict[str, tuple[float, float]] = {}
        """Model calls that text is there of and no recorded reply: first and last piece."""
        self._failed: dict[tuple[str, int], Span] = {}
        """Steps that failed, and that the run went on after."""
        self._waited_s = 0.0
        self._used = [0, 0, 0]
        """Input tokens, output tokens and micro-USD of the calls seen."""
        self._all_told = True
        """Whether each call told its input and output apart; those of an older version do not."""

    def spans(self, log: Iterable[Event], links: Sequence[tuple[str, str]] = ()) -> list[Span]:
        """Return the run's spans, its own first."""
        for event in log:
            try:
                self._read(event)
            except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
                continue  # an agent's own, by a name of ours
        self._open_ends()
        return [self._of_run(links), *self._spans]

    def _read(self, event: Event) -> None:
        data = event.data
        if event.type == "step" and isinstance(data.get("step"), str):
            self._step(event)
        elif event.type == "tool_call" and "tool" in data:
            self._tools[str(data["tool"]), int(data.get("n", 1))] = event
        elif is_written(event):
            first, _ = self._texts.get(str(data["call"]), (event.at, 0.0))
            self._texts[str(data["call"])] = first, event.at
        elif event.type == "waiting":
            for one in data.get("for") or ():
                self._waits[str(one["kind"]), str(one["name"]), str(one["since"])] = None
        elif event.type == "woken" and "waited_s" in data:
            self._waited_s = float(data["waited_s"])
        elif event.type in NOTED and len(self._notes) < MOST_NOTES:
            self._notes.append(Note(event.type, event.at, _noted(data)))

    def _step(self, event: Event) -> None:
        data = event.data
        name, nth = str(data["step"]), int(data.get("n", 1))
        start = event.at - float(data.get("ms", 0)) / 1000
        about: dict[str, Value] = {names.STEP: name, names.NTH: nth}
        if (before := self._failed.pop((name, nth), None)) is not None:
            self._spans.remove(before)  # tried again since: a span's id is its step's
        error = str(data["error"].get("code") or "failed") if isinstance(data.get("error"), dict) else None
        if error is not None:
            about[names.ERROR_TYPE] = error
        spans = len(self._spans)
        tool = self._tools.pop((name, nth), None)
        kind = str(data.get("kind", "step"))
        if "call" in data:
            self._call(event, start, about)
        elif tool is not None or kind == "tool":
            began = tool.at if tool else start
            self._add(_tool_name(name), began, event.at, about | _of_tool(name), STEP, name, nth, error=error)
        elif kind in WAITS:
            known = [start, self._waited(kind, name, nth)]
            if kind == "children":
                known.append(self._children_began(name, nth))
            began = min(one for one in known if one is not None)
            text = f"{kind} {name}" if kind != name else kind
            self._add(text, began, event.at, about | {names.KIND: kind}, STEP, name, nth)
        else:
            self._add(f"step {name}", start, event.at, about, STEP, name, nth, error=error)
        if error is not None and len(self._spans) > spans:
            self._failed[name, nth] = self._spans[-1]

    def _waited(self, kind: str, name: str, nth: int) -> float | None:
        """Take the wait that a step is the end of; returns since when it was waited for."""
        waited = f"children:{name}:{nth}" if kind == "children" else name
        found = [one for one in self._waits if one[:2] == (kind, waited)]
        if not found:
            return None
        del self._waits[found[0]]
        return epoch(found[0][2])

    def _call(self, event: Event, start: float, about: dict[str, Value]) -> None:
        data = event.data
        self._texts.pop(str(data["call"]), None)
        told = "input_tokens" in data and "output_tokens" in data
        self._all_told = self._all_told and told
        read = int(data["input_tokens"] if told else data.get("tokens", 0))
        wrote = int(data["output_tokens"]) if told else 0
        cost = float(data.get("cost_usd", 0))
        self._used[0] += read
        self._used[1] += wrote
        self._used[2] += round(cost * 1_000_000)
        if "finish_reason" in data:
            about[names.FINISH_REASONS] = [str(data["finish_reason"])]
        about |= {names.CALL: str(data["call"])}
        about |= self._of_call(str(data.get("model") or self._task.model), read, wrote, cost)
        text = f"{names.CHAT} {about[names.REQUEST_MODEL]}"
        self._add(text, start, event.at, about, STEP, str(data["step"]), int(data.get("n", 1)), client=True)

    def _of_call(self, model: str, read: int, wrote: int, cost: float) -> dict[str, Value]:
        return _of_provider() | {
            names.OPERATION: names.CHAT,
            names.REQUEST_MODEL: model,
            names.RESPONSE_MODEL: model,
            names.INPUT_TOKENS: read,
            names.OUTPUT_TOKENS: wrote,
            names.COST: cost,
            names.REQUEST_STREAM: bool(self._task.params.get("stream", True)),
            **({names.CONVERSATION: self._task.session_id} if self._task.session_id else {}),
        }

    def _open_ends(self) -> None:
        """Tell of what the run's end cut off: tools, waits, and calls that were paid for without a recorded reply."""
        task, end = self._task, self._end
        why = str((task.error or {}).get("code") or task.status)
        for (name, nth), event in self._tools.items():
            about: dict[str, Value] = {names.STEP: name, names.NTH: nth, names.ERROR_TYPE: why}
            about |= _of_tool(name)
            self._add(_tool_name(name), event.at, end, about, STEP, name, nth, error=f"the run ended first: {why}")
        for kind, name, since in self._waits:
            about = {names.KIND: kind, names.STEP: name}
            self._add(f"{kind} {name}", epoch(since), end, about, "wait", kind, name, since)
        read, wrote = task.paid.input_tokens - self._used[0], task.paid.output_tokens - self._used[1]
        micro_usd = task.paid.micro_usd - self._used[2]
        if self._all_told and (read > 0 or wrote > 0 or micro_usd > 0):
            began = min((first for first, _ in self._texts.values()), default=task.started_at or task.created)
            until = max((last for _, last in self._texts.values()), default=end)
            about = self._of_call(task.model, max(0, read), max(0, wrote), max(0, micro_usd) / 1_000_000)
            about |= {names.UNRECORDED: True, names.ERROR_TYPE: CUT}
            text = "calls that were cut off or failed, and were paid for"
            self._add(f"{names.CHAT} {task.model}", began, until, about, "unrecorded", error=text, client=True)

    def _add(
        self,
        text: str,
        start: float,
        end: float,
        attributes: Mapping[str, Value],
        *which: str | int,
        error: str | None = None,
        client: bool = False,
    ) -> None:
        if len(self._spans) >= MOST_SPANS - 1:
            self._dropped += 1
            return
        span = Span(
            trace_id=self._place.trace_id,
            span_id=traceparent.span_id(self._task.task_id, str(which[0]), *which[1:]),
            parent=self._run,
            name=text,
            start=min(start, end),
            end=end,
            client=client,
            attributes=attributes,
            error=error,
        )
        self._spans.append(span)

    @property
    def _end(self) -> float:
        return self._task.ended_at or self._task.created

    def _of_run(self, links: Sequence[tuple[str, str]]) -> Span:
        task = self._task
        about: dict[str, Value] = _of_provider() | {
            names.OPERATION: names.INVOKE_AGENT,
            names.AGENT: task.agent,
            names.REQUEST_MODEL: task.model,
            names.TASK: task.task_id,
            names.STATUS: str(task.status),
            names.USER: task.user,
            names.LANE: task.lane,
            names.TIER: task.tier,
            names.COST: task.paid.micro_usd / 1_000_000,
            names.RUN_INPUT_TOKENS: task.paid.input_tokens,
            names.RUN_OUTPUT_TOKENS: task.paid.output_tokens,
            names.CALLS: task.calls,
            names.WAITED_S: self._waited_s,
        }
        if task.session_id:
            about[names.CONVERSATION] = task.session_id
        if task.started_at:
            about[names.QUEUED_S] = round(max(0.0, task.started_at - task.created), 3)
        about |= {f"{names.METADATA}{key}": str(value) for key, value in (task.params.get("metadata") or {}).items()}
        if self._dropped:
            about[names.DROPPED] = self._dropped
        error = None
        if task.error is not None:
            about[names.ERROR_TYPE] = str(task.error.get("code") or "failed")
            error = str(task.error.get("message") or task.error.get("code") or "failed")
        elif str(task.status) == CANCELLED:
            about[names.ERROR_TYPE] = CANCELLED
        return Span(
            trace_id=self._place.trace_id,
            span_id=self._run,
            parent=self._place.parent,
            name=f"{names.INVOKE_AGENT} {task.agent}",
            start=task.created,
            end=self._end,
            attributes=about,
            error=error,
            notes=self._notes,
            links=links,
        )


def _tool_name(name: str) -> str:
    return f"{names.EXECUTE_TOOL} {name}"


def _of_tool(name: str) -> dict[str, Value]:
    return {names.OPERATION: names.EXECUTE_TOOL, names.TOOL: name, names.TOOL_TYPE: names.FUNCTION}


def _of_provider() -> dict[str, Value]:
    parts = urlsplit(settings().openai_base_url or "https://api.openai.com")
    host = parts.hostname or ""
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return {names.PROVIDER: names.provider_of(host), names.SERVER: host, names.PORT: port}


def _noted(data: Mapping[str, Any]) -> dict[str, Value]:
    """Return what a note says of an event: few words, nothing that a user wrote."""
    said: dict[str, Value] = {}
    if isinstance(data.get("error"), dict):
        said[names.ERROR_TYPE] = str(data["error"].get("code") or "")
    if "attempt" in data:
        said[names.ATTEMPT] = int(data["attempt"])
    if "delay_s" in data:
        said[names.DELAY_S] = float(data["delay_s"])
    if "reason" in data:
        said[names.REASON] = str(data["reason"])
    return said
