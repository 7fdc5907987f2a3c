"""A service that takes connections and never answers: the client is told within the time that the function has."""

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ReadTimeoutError

from deploy import stack
from functions.api.submit import batch
from localstack.environ import ROOT
from shared import aws
from shared.limits import keys
from tests.unit.api.conftest import Api

FUNCTION_SECONDS: float = stack.read_template(ROOT / "template.yaml")["Globals"]["Function"]["Timeout"]
MARGIN_SECONDS = 2.0
"""Valkey, and everything that is not waited for."""


def longest(client: BaseClient) -> float:
    """Return how long one call of a client takes that nobody answers; botocore hardly pauses before it tries again."""
    config: Any = client.meta.config
    tries = config.retries["total_max_attempts"]
    return tries * max(config.read_timeout, config.connect_timeout) + sum(0.05 * 2**n for n in range(tries - 1))


class Silence:
    """Every call of one service times out, at once; what it would have taken is added up."""

    def __init__(self, patch: pytest.MonkeyPatch, service: str) -> None:
        self.seconds = 0.0
        self.calls: list[str] = []
        real = BaseClient._make_api_call

        def call(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
            if client.meta.service_model.service_name != service:
                return real(client, operation, arguments)
            self.seconds += longest(client)
            self.calls.append(operation)
            raise ReadTimeoutError(endpoint_url=operation)

        patch.setattr(BaseClient, "_make_api_call", call)
        patch.setattr(batch, "monotonic", lambda: monotonic() + self.seconds)


@pytest.fixture(scope="module", autouse=True)
def _clients_of_the_api(steady: Api) -> None:
    assert steady
    aws.reset()  # those that were lent may be of a function that has more time
    for make in (aws.dynamodb, aws.sqs, aws.s3, aws.s3_signer, aws.lambda_client):
        make()


REQUESTS: dict[str, Callable[[Api, str], Any]] = {
    "submit": lambda api, _: api.submit("load"),
    "with a key": lambda api, _: api.submit("load", headers={"Idempotency-Key": "k"}),
    "of a session": lambda api, _: api.submit("load", session_id="s"),
    "large": lambda api, _: api.submit("load", message="x" * 20_000),
    "large, of a session, with a key": lambda api, _: api.submit(
        "load", message="x" * 20_000, session_id="s", headers={"Idempotency-Key": "k2"}
    ),
    "batch": lambda api, _: api.post("/agent/batch", "load", runs=[{"message": word} for word in "abc"]),
    "batch, all or none": lambda api, _: api.post(
        "/agent/batch", "load", runs=[{"message": word} for word in "abc"], all=True
    ),
    "result": lambda api, task_id: api.get(f"/result/{task_id}", "load"),
    "events": lambda api, task_id: api.get(f"/result/{task_id}/events", "load"),
    "cancel": lambda api, task_id: api.post(f"/agent/{task_id}/cancel", "load"),
    "signal": lambda api, task_id: api.post(f"/agent/{task_id}/signals/go", "load"),
    "list": lambda api, _: api.get("/agent", "load"),
    "limits": lambda api, _: api.get("/limits", "load"),
    "responses": lambda api, _: api.post("/v1/responses", "load", input="hi", background=True),
    "unknown key": lambda api, _: (keys.forget(), api.get("/agent", "load"))[1],
}


@pytest.mark.parametrize("service", ["dynamodb", "sqs", "s3", "lambda"])
@pytest.mark.parametrize("request_", REQUESTS)
def test_the_answer_comes_before_the_functions_end(
    steady: Api, monkeypatch: pytest.MonkeyPatch, service: str, request_: str
) -> None:
    task_id = steady.submit("load").json()["task_id"]
    silence = Silence(monkeypatch, service)
    answer = REQUESTS[request_](steady, task_id)
    assert answer.status_code < 400 or answer.status_code == 503, answer.text
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) >= 1
    assert silence.seconds <= FUNCTION_SECONDS - MARGIN_SECONDS, silence.calls
