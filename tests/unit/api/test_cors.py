"""Which pages may call the API: its own, and those of the origins that are set."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from deploy.bundle import ROOT
from deploy.stack import read_template
from functions.api.app import SHOWN_HEADERS, make_app
from shared import settings
from shared.errors import SettingError
from tests.unit.api.conftest import Api

PAGE = "https://app.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}


def client(origins: str, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Make an API that allows these origins; the fixture's parts are around it."""
    monkeypatch.setenv("CORS_ORIGINS", origins)
    return TestClient(make_app())


@pytest.mark.parametrize(("origins", "allowed"), [(f"{PAGE}, http://localhost:3000", PAGE), ("*", "*")])
def test_a_page_of_a_set_origin_may_call(
    steady: Api, monkeypatch: pytest.MonkeyPatch, origins: str, allowed: str
) -> None:
    api = client(origins, monkeypatch)
    preflight = api.options("/agent", headers={"Origin": PAGE} | PREFLIGHT)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, allowed)
    assert {"authorization", "idempotency-key"} <= set(
        preflight.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    )
    answer = api.get("/limits", headers={"Origin": PAGE} | steady.head())
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, allowed)
    assert "access-control-allow-credentials" not in answer.headers
    assert {"RateLimit", "Retry-After", "Location"} <= set(answer.headers["access-control-expose-headers"].split(", "))


def test_a_page_may_read_an_error(steady: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = client(PAGE, monkeypatch).get("/limits", headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, PAGE)


@pytest.mark.parametrize("origins", ["", "https://another.example", "https://app.example.evil", "http://app.example"])
def test_a_page_of_another_origin_may_not(steady: Api, monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    api = client(origins, monkeypatch)
    preflight = api.options("/agent", headers={"Origin": PAGE} | PREFLIGHT)
    answer = api.get("/limits", headers={"Origin": PAGE} | steady.head())
    assert "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in answer.headers
    assert answer.status_code == 200  # it is the browser that keeps it from the page


def test_by_default_only_its_own_pages(steady: Api) -> None:
    answer = steady.client.get("/limits", headers={"Origin": PAGE} | steady.head())
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("text", ["app.example", "https://app.example/", "https://App.example", "https://*.example"])
def test_what_no_browser_sends_as_an_origin_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="CORS_ORIGINS"):
        settings.read({"CORS_ORIGINS": f"https://good.example,{text}"})


def test_the_gateway_shows_pages_what_the_function_would() -> None:
    """It answers for the function where origins are set."""
    _, wanted, _ = read_template(ROOT / "template.yaml")["Resources"]["HttpApi"]["Properties"]["CorsConfiguration"][
        "Fn::If"
    ]
    assert set(wanted["ExposeHeaders"]) == {name.lower() for name in SHOWN_HEADERS}
    assert set(wanted["AllowMethods"]) == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert {"authorization", "content-type", "idempotency-key"} <= set(wanted["AllowHeaders"])
