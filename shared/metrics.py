"""Metrics in CloudWatch's embedded metric format: a JSON line in the log becomes a metric, no call is made.

Format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from shared.clock import now
from shared.settings import settings

type Values = Mapping[str, tuple[float, str]]
"""Metrics: name -> (value, unit)."""


def emit(values: Values, /, **dimensions: Any) -> None:
    """Write metrics. Dimensions should have few values: never a task or a user."""
    emit_beside({}, (values, dimensions))


def emit_beside(line: Mapping[str, Any], /, *sets: tuple[Values, Mapping[str, Any]]) -> None:
    """Write metrics by several sets of dimensions as one line of the log, whose other fields are ``line``.

    A metric has one name in all sets, and a dimension one value.
    """
    namespace = settings().metrics_namespace
    record = dict(line)
    if settings().publish_metrics:
        record["_aws"] = _directive(namespace, sets)
    for values, dimensions in sets:
        record |= {name: str(value) for name, value in dimensions.items()}
        record |= {name: value for name, (value, _) in values.items()}
    sys.stdout.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")  # ASCII, as in shared.logs


def _directive(namespace: str, sets: tuple[tuple[Values, Mapping[str, Any]], ...]) -> dict[str, Any]:
    """Say which of a line's fields CloudWatch is to make metrics of."""
    return {
        "Timestamp": int(now() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": namespace,
                "Dimensions": [list(dimensions)],
                "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in values.items()],
            }
            for values, dimensions in sets
        ],
    }


def count(name: str, value: float = 1, /, **dimensions: Any) -> None:
    """Write one counter."""
    emit({name: (value, "Count")}, **dimensions)
