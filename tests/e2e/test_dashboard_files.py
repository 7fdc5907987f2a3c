"""How the page and its files are served, with their prefix, through the deployed gateway."""

from __future__ import annotations

import re

import pytest

from functions.api.routes.dashboard import STATIC
from tests.e2e.conftest import Dashboard
from tests.stack_fixture import Stack


def test_the_page_allows_nothing_inline_and_nothing_foreign(stack: Stack) -> None:
    answer = stack.client().get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    socket = stack.outputs["ws_url"].removesuffix("/live").partition("/_aws")[0]
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == f"'self' {socket} {stack.outputs['stream_url']}"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|style=", answer.text)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text)


def test_the_page_works_without_its_slash_too(stack: Stack) -> None:
    prefix = stack.api_url.partition(stack.outputs["aws_endpoint_url"])[2]
    assert f'<base href="{prefix}/">' in stack.client().get("/").text


def test_files_are_kept_for_ever_under_their_version_only(stack: Stack) -> None:
    client = stack.client()
    version = re.search(r"dashboard/([0-9a-f]{12})/js/all\.js", client.get("/").text)
    assert version
    kinds = {
        "js/all.js": "text/javascript",
        "js/charts.js": "text/javascript",
        "js/app.js": "text/javascript",
        "all.css": "text/css",
        "icon.svg": "image/svg+xml",
        "vendor/uplot/uPlot.esm.js": "text/javascript",
        "vendor/uplot/LICENSE": "text/plain",
    }
    for name, kind in kinds.items():
        answer = client.get(f"/dashboard/{version[1]}/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].startswith(kind)
        assert "immutable" in answer.headers["cache-control"]
    assert client.get("/dashboard/000000000000/js/app.js").headers["cache-control"] == "no-store"


def test_a_theme_is_colours_alone() -> None:
    """What `tests.e2e.readable` builds on: style sheets choose by theme with `light-dark()`, which takes colours."""
    css = "\n".join(path.read_text() for path in sorted(STATIC.glob("css/*.css")))
    assert "prefers-color-scheme" not in css
    rules = re.findall(r"([^{}]*data-theme[^{}]*)\{([^{}]*)\}", css)
    assert [(selector.strip(), body.strip()) for selector, body in rules] == [
        (f':root[data-theme="{theme}"]', f"color-scheme: {theme};") for theme in ("light", "dark")
    ]
    told = [path.name for path in sorted(STATIC.rglob("js/**/*.js")) if "prefers-color-scheme" in path.read_text()]
    assert told == ["theme.js"]  # which has charts drawn again


def test_a_time_is_said_in_two_units_at_most(dashboard: Dashboard) -> None:
    said = dashboard.open().evaluate(
        """async times => {
             const { src } = document.querySelector("script[type=module]");
             const { duration } = await import(src.replace(/[^/]+$/, "format.js"));
             return times.map(duration);
           }""",
        [1.25, 59, 5369, 5371, 7180, 172_769, 172_771, 259_000, None],
    )
    assert said == ["1.3 s", "59 s", "89 min", "1 h 30 min", "2 h 0 min", "47 h 59 min", "2 d 0 h", "3 d 0 h", "–"]


@pytest.mark.parametrize("name", ["nothing.js", "..%2f..%2fapp.py", "%2fetc%2fpasswd", "js", ""])
def test_nothing_else_is_served(stack: Stack, name: str) -> None:
    assert stack.client().get(f"/dashboard/x/{name}").status_code == 404
