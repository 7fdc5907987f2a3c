"""CloudWatch's embedded metric format: limits of a line, and how many series the lines make."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from localstack.strict.rules import RULES

if TYPE_CHECKING:
    from localstack.strict.report import Report


class Metrics:
    """Reads functions' log lines; counts distinct series by metric and dimension."""

    def __init__(self, report: Report) -> None:
        """Note what is wrong in a report."""
        self._report = report
        self._lock = threading.Lock()
        self._values: dict[str, set[str]] = {}

    def read(self, log: str) -> None:
        """Look at what an invocation printed."""
        if '"_aws"' not in log and len(log) <= RULES["emf-line"].most:
            return
        for line in log.splitlines():
            if len(line) > RULES["emf-line"].most:
                self._report.violated("emf-line", f"a line of {len(line)} characters: {line[:100]}")
            if '"_aws"' in line:
                try:
                    self._line(json.loads(line[line.index("{") :]))
                except (ValueError, KeyError, TypeError):
                    continue  # no metric: CloudWatch takes it for text, too

    def _line(self, found: dict[str, Any]) -> None:
        for directive in found["_aws"]["CloudWatchMetrics"]:
            metrics = directive["Metrics"]
            if len(metrics) > RULES["emf-metrics"].most:
                self._report.violated("emf-metrics", f"{len(metrics)} metrics in a line")
            for names in directive.get("Dimensions") or [[]]:
                if len(names) > RULES["emf-dimensions"].most:
                    self._report.violated("emf-dimensions", f"{len(names)} dimensions: {', '.join(names)[:100]}")
                values = json.dumps([found.get(name) for name in names])
                for name in names:
                    self._check_value(name, found.get(name))
                for metric in metrics:
                    self._count(f"{directive['Namespace']} {metric['Name']} by {', '.join(names) or 'nothing'}", values)

    def _check_value(self, name: str, value: Any) -> None:
        text = value if isinstance(value, str) else ""
        if not (text.isascii() and text.isprintable()) or not text.strip() or len(text) > RULES["emf-value"].most:
            self._report.violated("emf-value", f"{name} is {value!r:.100}")

    def _count(self, series: str, values: str) -> None:
        with self._lock:
            known = self._values.setdefault(series, set())
            if values in known:
                return
            known.add(values)
            self._report.series[series] = len(known)
            if len(known) == RULES["emf-series"].most + 1:
                self._report.violated("emf-series", f"{series}: the newest of {len(known)} is {values[:100]}")
