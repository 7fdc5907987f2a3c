"""Answers that are lost on their way: botocore then repeats what was done already."""

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.endpoint import Endpoint
from botocore.exceptions import ReadTimeoutError

from sluice.testing import quick_front


def lose_answer(patch: pytest.MonkeyPatch, operation: str) -> list[str]:
    """Have the next call of an operation be done and not answered; what is returned holds it once that happened."""
    lost: list[str] = []
    real: Any = Endpoint._get_response  # type: ignore[attr-defined]

    def answer(self: Any, request: Any, model: Any, context: Any) -> Any:
        answered = real(self, request, model, context)
        if model.name != operation or lost:
            return answered
        lost.append(operation)
        return None, ReadTimeoutError(endpoint_url=request.url)

    patch.setattr(Endpoint, "make_request", quick_front._the_long_way)  # moto's quick door repeats nothing
    patch.setattr(Endpoint, "_get_response", answer)
    patch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None))  # before it repeats
    return lost
