"""Routes that are built late are found as if they stood there."""

from __future__ import annotations

import subprocess
import sys

import pytest
from starlette.routing import Match, Route

from functions.api import routes
from functions.api.app import ROUTES, app
from functions.api.door.later import Later, every
from localstack.environ import ROOT

FILES = sorted(path.stem for path in (ROOT / "functions/api/routes").glob("*.py") if path.stem != "__init__")


def test_every_file_of_routes_has_a_place() -> None:
    assert sorted(place._load().__name__.rpartition(".")[2] for place in ROUTES) == FILES


@pytest.mark.parametrize("place", ROUTES, ids=[place._pattern.pattern for place in ROUTES])
@pytest.mark.parametrize("value", ["x", "batch", "a.b~c", "\n", "a%2Fb", "é"])
def test_a_place_has_all_of_its_paths(place: Later, value: str) -> None:
    for route in place.routes:
        assert isinstance(route, Route)
        path = route.path_format
        for name in route.param_convertors:
            path = path.replace(f"{{{name}}}", value)
        assert place.may_have(path), path


@pytest.mark.parametrize("root", ["", "/_aws/execute-api/1234/$default"])
def test_the_first_route_that_has_the_method_is_taken_as_if_all_stood_there(root: str) -> None:
    flat = [route for route in every(app.routes) if isinstance(route, Route)]
    paths = {route.path_format.replace("{", "").replace("}", "") for route in flat} | {"/agent/", "/nowhere", "//"}
    for path in paths:
        for method in ("GET", "POST", "DELETE", "PATCH", "PUT"):
            scope = {"type": "http", "method": method, "path": root + path, "root_path": root, "headers": []}
            late, alone = Match.NONE, Match.NONE
            chosen = expected = None
            for route in app.routes:
                match, child = route.matches(dict(scope))
                if match.value > late.value:
                    late, chosen = match, child.get("sluice.route", route)
            for route in flat:
                match, _ = route.matches(dict(scope))
                if match.value > alone.value:
                    alone, expected = match, route
            assert (late, chosen) == (alone, expected), (method, path)


def test_there_is_no_file_of_another_name() -> None:
    with pytest.raises(AttributeError):
        _ = routes.nothing


def test_a_start_builds_no_routes_that_nobody_asked_for() -> None:
    code = (
        "import sys, functions.api.app as a\n"
        "print(sorted(n.rpartition('.')[2] for n in sys.modules if n.startswith('functions.api.routes.')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]"


def test_a_function_builds_no_models_that_nobody_asked_for_and_has_them_when_they_are() -> None:
    code = """
import json, sys
import functions.api.app as a
from fastapi.openapi.models import OpenAPI
built = OpenAPI.__pydantic_complete__
from starlette.testclient import TestClient
with TestClient(a.app) as client:
    described = client.get("/openapi.json").json()
    refused = client.post("/agent", json={"message": 5})
print(json.dumps([built, sys.modules["pydantic.v1"], len(described["paths"]) > 30, refused.status_code]))
"""
    environment = {
        "PATH": "/usr/bin:/bin",
        "AWS_LAMBDA_FUNCTION_NAME": "api",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "TABLE_NAME": "none",
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )
    assert found.stdout.strip().splitlines()[-1] == "[false, null, true, 401]"
