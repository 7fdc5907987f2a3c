"""Lambda: every invocation goes through here, whoever asks for it.

Two functions of MiniStack's are wrapped, none is changed: the one through which every invocation goes, and the one that
says which trace an invocation has.
"""

from __future__ import annotations

import contextvars
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

from localstack.strict import starts
from localstack.strict.emf import Metrics
from localstack.strict.lineage import Lineage
from localstack.strict.report import Refused
from localstack.strict.rules import RULES
from localstack.strict.starts import Deployed, Starts

if TYPE_CHECKING:
    from localstack.strict.report import Report
    from localstack.strict.sqs import Queues

SEAMS = (
    "_execute_function",
    "_xray_trace_id_for_invocation",
    "_functions",
    "_throttle_response",
    "lambda_execute_result_to_api_proxy_response",
)
"""What is used of ``ministack.services.lambda_svc``; without one of them the front does not start."""

_log = logging.getLogger("strict")


class Functions:
    """The rules of Lambda around its emulator's module."""

    def __init__(self, emulator: Any, runtime: Any, report: Report, queues: Queues, *, quota: int) -> None:
        """Wrap the module ``emulator``, whose environments ``runtime`` has; ``quota`` is the account's concurrency.

        Raises:
            RuntimeError: it is of a version that this code does not know.
        """
        missing = [name for name in SEAMS if not hasattr(emulator, name)]
        missing += [name for name in starts.SEAMS if not hasattr(runtime, name)]
        if missing:
            raise RuntimeError(f"this MiniStack lacks {', '.join(missing)}: the strict front does not fit it")
        self.lineage = Lineage()
        self._emulator, self._report, self._queues, self._quota = emulator, report, queues, quota
        self._metrics = Metrics(report)
        self._runtime, self._starts = runtime, Starts()
        self._lock = threading.Lock()
        self._shared = 0
        self._within = threading.local()
        self._trace: contextvars.ContextVar[str | None] = contextvars.ContextVar("trace", default=None)
        self._execute, self._own_trace = emulator._execute_function, emulator._xray_trace_id_for_invocation
        emulator._execute_function = self.execute
        emulator._xray_trace_id_for_invocation = self._trace_of
        self._for_gateway = emulator.lambda_execute_result_to_api_proxy_response
        emulator.lambda_execute_result_to_api_proxy_response = self.for_gateway

    def _trace_of(self, config: dict[str, Any], inbound: str | None = None) -> str | None:
        found: str | None = self._trace.get() or self._own_trace(config, inbound)
        return found

    def execute(self, func: dict[str, Any], event: Any) -> dict[str, Any]:
        """Invoke a function, or refuse to; returns what MiniStack's own does."""
        if getattr(self._within, "event", None) is event:  # it calls itself once more for another account
            result: dict[str, Any] = self._execute(func, event)
            return result
        config = func.get("config") or func
        name = str(config.get("FunctionName"))
        try:
            self._check_environment(name, config)
            self._check_size("lambda-request", name, event)
            run = self.lineage.begin(name, event)
            if run.times > RULES["lambda-loop"].most and (func.get("recursive_loop") or "Terminate") != "Allow":
                raise Refused(
                    "lambda-loop", "RecursiveInvocationException",
                    f"{name} was invoked {run.times} times in one chain of requests",
                )  # fmt: skip
        except Refused as refused:
            return self._refuse(refused)
        self._note_receives(event)
        function = Deployed(self._runtime, func, config)
        with self._report.invocation(name) as has_begun:
            if not self._starts.begin(function, starts.POLLERS_S if _is_polled(event) else None):
                return self._throttled(name, "no environment could be started in time")
            has_begun()
            try:
                answer = self._run(func, config, event, run.header)
            finally:
                self._starts.end(function)
        self._metrics.read(answer.get("log") or "")
        try:
            self._check_size("lambda-response", name, answer.get("body"))
        except Refused as refused:
            return self._refuse(refused)
        return answer

    def for_gateway(self, answer: dict[str, Any]) -> Any:
        """Return what a gateway makes of an invocation: of a refused one 500, of a failed one 502, and no reason."""
        if answer.get("throttle") or answer.get("error"):
            status = 500 if answer.get("throttle") else 502
            headers = {"Content-Type": "application/json"}
            return {"statusCode": status, "headers": headers, "body": '{"message":"Internal server error"}'}, None
        return self._for_gateway(answer)

    def _run(self, func: dict[str, Any], config: dict[str, Any], event: Any, trace: str) -> dict[str, Any]:
        if not self._enter(func, config):
            return self._throttled(str(config.get("FunctionName")), "the unreserved pool is in use")
        token = self._trace.set(trace)
        self._within.event = event
        try:
            answer: dict[str, Any] = self._execute(func, event)
        finally:
            self._within.event = None
            self._trace.reset(token)
            self._leave(func, config)
        return answer

    def _throttled(self, name: str, why: str) -> dict[str, Any]:
        _log.warning("%s is throttled: %s", name, why)
        answer: dict[str, Any] = self._emulator._throttle_response(
            reason_code="ConcurrentInvocationLimitExceeded", msg=f"Rate Exceeded: {why}"
        )
        return answer

    def check_reservation(self, name: str, wanted: int) -> None:
        """Hold a reservation against what all functions together may reserve.

        Raises:
            Refused: too little of the account's concurrency would be left for the others.
        """
        others = self._taken(but=name)
        if self._quota - others - wanted < RULES["lambda-reserve"].most:
            raise Refused(
                "lambda-reserve", "InvalidParameterValueException",
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{RULES['lambda-reserve'].most:.0f}].",
            )  # fmt: skip

    def _refuse(self, refused: Refused) -> dict[str, Any]:
        self._report.violated(refused.rule, refused.message)
        return {"error": True, "body": {"errorType": refused.code, "errorMessage": refused.message}, "log": ""}

    def _check_environment(self, name: str, config: dict[str, Any]) -> None:
        size = environment_bytes((config.get("Environment") or {}).get("Variables") or {})
        if size > RULES["lambda-environment"].most:
            raise Refused(
                "lambda-environment", "InvalidParameterValueException", f"{name}: {size} bytes of environment"
            )

    def _check_size(self, rule: str, name: str, value: Any) -> None:
        # A text of the wire's length is about what is passed on; only what may be over the limit is measured whole.
        size = _bytes(value)
        if size > RULES[rule].most:
            code = "RequestEntityTooLargeException" if rule == "lambda-request" else "Function.ResponseSizeTooLarge"
            raise Refused(rule, code, f"{name}: {size} bytes exceed the limit of {RULES[rule].most:.0f}")

    def _note_receives(self, event: Any) -> None:
        for record in (event.get("Records") or []) if isinstance(event, dict) else []:
            if isinstance(record, dict) and "receiptHandle" in record:
                self._queues.received(str(record.get("eventSourceARN")), [str(record["receiptHandle"])], 0)

    # ---- one pool for all functions that reserved nothing

    def _enter(self, func: dict[str, Any], config: dict[str, Any]) -> bool:
        if self._reserved(func, config) is not None:
            return True
        with self._lock:
            if self._shared >= self._quota - self._taken():
                return False
            self._shared += 1
        return True

    def _taken(self, *, but: str = "") -> int:
        records = [one for _, one in self._emulator._functions.all_items()]
        named = [(one, one.get("config") or one) for one in records]
        return sum(self._reserved(one, config) or 0 for one, config in named if config.get("FunctionName") != but)

    def _leave(self, func: dict[str, Any], config: dict[str, Any]) -> None:
        if self._reserved(func, config) is None:
            with self._lock:
                self._shared = max(0, self._shared - 1)

    @staticmethod
    def _reserved(func: dict[str, Any], config: dict[str, Any]) -> int | None:
        found = func.get("concurrency")
        if isinstance(found, dict):
            found = found.get("ReservedConcurrentExecutions")
        found = config.get("ReservedConcurrentExecutions") if found is None else found
        return None if found is None else int(found)


def environment_bytes(variables: dict[str, Any]) -> int:
    """Return what environment variables count for: names and values."""
    return sum(len(str(name).encode()) + len(str(value).encode()) for name, value in variables.items())


def _is_polled(event: Any) -> bool:
    records = event.get("Records") if isinstance(event, dict) else None
    return bool(records) and isinstance(records, list) and "receiptHandle" in records[0]


def _bytes(value: Any) -> int:
    """Return the length of a value's JSON as Lambda's runtime writes it."""
    body = value.get("body") if isinstance(value, dict) else None
    if isinstance(body, str) and len(body) < 1_000_000 and len(value) < 12:
        return len(body)  # far from every limit, however it is escaped
    return len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))
