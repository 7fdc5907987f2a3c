"""The description of the API is true: what schemathesis makes of it meets nothing that it does not say."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.generation.meta import TestPhase
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from functions.api.app import app
from functions.api.description.openapi import describe
from functions.api.dialect import runs
from functions.api.door.later import every
from shared.settings import settings as app_settings
from tests.examples import THOROUGH, examples
from tests.unit.api.caller import here
from tests.unit.api.conftest import Api


def test_every_operation_is_described_whole() -> None:
    whole = describe(app)
    assert whole["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    assert not {"HTTPValidationError", "ValidationError"} & set(whole["components"]["schemas"])
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert "503" in operation["responses"], where
            if path != "/health":
                assert {"401", "500"} <= set(operation["responses"]), where
                assert operation["security"] == [{"ApiKey": []}], where


BEYOND_SCHEMA = [negative_data_rejection, positive_data_acceptance]
"""Checks that ask more of a schema than it can say: unknown query parameters are not regarded, and what a cursor, an
address or a message of so many bytes is, no schema tells."""


HELD = frozenset({"POST /v1/responses", "POST /v1/responses/compact", "POST /v1/chat/completions"})
"""Operations that wait for a run, of which none ends here: 504."""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold answers for a moment only; have everything that a deployment has."""
    monkeypatch.setenv("RESULT_MAX_WAIT", "0.02")
    monkeypatch.setattr(runs, "life", lambda _: 0.02)
    monkeypatch.setenv("WS_URL", "wss://live.example")
    app_settings.cache_clear()
    yield
    app_settings.cache_clear()


OPERATIONS = sorted(
    f"{method} {route.path_format}"
    for route in every(app.routes)
    if isinstance(route, APIRoute) and route.include_in_schema
    for method in route.methods
)


def test_every_operation_asks_for_a_key_first(steady: Api) -> None:
    for operation in OPERATIONS:
        method, path = operation.split()
        if path != "/health":
            answer = steady.client.request(method, re.sub(r"\{[^}]*\}", "task_1", path), content=b"{")
            assert answer.status_code == 401, operation


@cache
def schema() -> Any:
    """Return the API's description as schemathesis reads it: a second's work, so not while tests are collected."""
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@cache
def session() -> asgi.ASGIClient:
    """Return what sends requests to the application: schemathesis would make one for each."""
    made = asgi.ASGIClient(app)
    made.trust_env = False  # else it looks for a file of passwords each time
    return made


class Here:
    """Stands where schemathesis has a thread with a loop: the application answers in this one."""

    @staticmethod
    def call(does: Callable[[], Any]) -> Any:
        return here(does()) if inspect.iscoroutinefunction(does) else does()


@cache
def described() -> dict[str, Any]:
    return {found.ok().label: found.ok() for found in schema().get_all_operations()}


def test_each_operation_is_tried() -> None:
    assert sorted(described()) == OPERATIONS


def kind_of(case: Any) -> Any:
    """Return what a request is to show: of ten wrong types of a parameter one is sent, unless all are asked for.

    Requests that are made up at random are each of a kind of their own.
    """
    how, what = case.meta.phase.name, case.meta.phase.data
    if how is not TestPhase.COVERAGE:
        return object()
    return case.method, what.scenario, what.parameter_location, what.parameter


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_answer_is_undescribed(operation: str, steady: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: set[Any] = set()
    tries = described()[operation]
    monkeypatch.setattr(asgi, "_get_portal", Here)

    def probe(case: Any) -> None:
        kind = kind_of(case)
        if kind in tried and not THOROUGH:
            return
        tried.add(kind)
        unfinished = [] if operation not in HELD else [not_a_server_error]
        answer = case.call_and_validate(
            session=session(), headers=steady.head("load"), excluded_checks=[*BEYOND_SCHEMA, *unfinished]
        )
        assert answer.status_code not in (500, 501, 502)

    # What `schema().parametrize()` makes of it, but made here: what is to be tried takes seconds to think out, and each
    # process of the tests would do so while it collects.
    build_operation_test(
        config=schema().config,
        operation=tries,
        test_func=settings(
            max_examples=examples(5, usual=2), deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )(probe),
        given_kwargs={},
        feedback=FeedbackSources(),
    )()
