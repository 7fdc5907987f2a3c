"""A run's trace in Arize Phoenix: the tree, the tokens, and the cost to the cent. Only `make try-traces` runs it.

Phoenix prices model calls by its own list: that it comes to what Sluice counted shows that it read the right tokens of
the right model, once each.
"""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.settings import settings
from shared.tasks import family, store
from sluice import AgentResult, Context
from tests.unit.aws_fixture import fake_aws
from tests.unit.simulator_fixture import simulator
from tests.unit.valkey_fixture import redis_settings, valkey_url
from tests.unit.worker.conftest import world
from tests.unit.worker.test_traces import Traced, child, nothing, traced

__all__ = ["fake_aws", "redis_settings", "simulator", "traced", "valkey_url", "world"]

PHOENIX = Path(os.environ.get("PHOENIX", ".tools/phoenix/bin/phoenix"))
START_SECONDS = 180
QUERY = """
query {
  projects { edges { node { name
    spans(first: 100) { edges { node {
      name spanKind statusCode context { traceId spanId } parentId latencyMs
      tokenCountPrompt tokenCountCompletion
      costSummary { total { cost } }
    } } }
    costSummary { total { cost } }
    tokenCountTotal
  } } }
}
"""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Phoenix of its own; yields its address."""
    if not PHOENIX.exists():
        pytest.skip("no Phoenix here: `make try-traces` installs it")
    home, port = tmp_path_factory.mktemp("phoenix"), _free_port()
    environment = os.environ | {
        "PHOENIX_WORKING_DIR": str(home),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(_free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    }
    log = (home / "log").open("wb")
    process = subprocess.Popen([str(PHOENIX), "serve"], env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{url}/healthz", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                ended = process.poll() is not None
                assert not ended, (home / "log").read_text()[-2000:]
                assert time.monotonic() < give_up, "Phoenix does not answer"
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def ask(url: str) -> dict[str, Any]:
    """Return what Phoenix shows of its one project."""
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": QUERY}).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.load(answer)
    assert "errors" not in found, found["errors"]
    projects = [edge["node"] for edge in found["data"]["projects"]["edges"]]
    return next((one for one in projects if one["spans"]["edges"]), projects[0])


async def boss(ctx: Context) -> AgentResult:
    """Two children of one call each, a tool, and a call of its own."""
    await ctx.map("child", [f"[[sim words={n}]] Tell me of the sea." for n in (2_000, 3_000)])
    await ctx.tool("lookup", nothing, {"q": 1})
    return AgentResult((await ctx.model([{"role": "user", "content": ctx.message * 500}])).content)


def test_phoenix_shows_the_tree_its_tokens_and_its_cost(
    phoenix: str, traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTLP_ENDPOINT", phoenix)
    settings.cache_clear()
    traced.runs |= {"boss": boss, "child": child}
    task = traced.world.submit("and of its waves ", agent="boss", model="gpt-4o", params={"max_output_tokens": 16_000})
    until = time.monotonic() + 120
    while not store.get(task.task_id).status.terminal and time.monotonic() < until:
        traced.world.work_until_quiet()
    assert [one["type"] for one in traced.deliver()] == ["trace"] * 3
    tasks = [store.get(one) for one in (task.task_id, *(family.child_id(task.task_id, "map#1", n) for n in range(2)))]
    paid = sum(one.micro_usd for one in tasks) / 1_000_000
    give_up = time.monotonic() + 60
    while len((shown := ask(phoenix))["spans"]["edges"]) < 8 or not shown["costSummary"]["total"]["cost"]:
        assert time.monotonic() < give_up, shown
        time.sleep(0.5)
    spans = [edge["node"] for edge in shown["spans"]["edges"]]
    print(json.dumps(shown, indent=1)[:6000])
    print(f"Sluice: USD {paid:.6f}; Phoenix: USD {shown['costSummary']['total']['cost']:.6f}")
    by_id = {one["context"]["spanId"]: one for one in spans}
    assert len({one["context"]["traceId"] for one in spans}) == 1
    kinds = sorted(one["spanKind"].lower() for one in spans)
    assert kinds.count("llm") == 3
    assert kinds.count("agent") == 3
    assert kinds.count("tool") == 1
    (root,) = [one for one in spans if one["parentId"] not in by_id]
    assert root["name"] == "invoke_agent boss"
    (group,) = [one for one in spans if one["name"] == "children map"]
    assert [one["parentId"] for one in spans if one["name"] == "invoke_agent child"] == [group["context"]["spanId"]] * 2
    calls = [one for one in spans if one["spanKind"].lower() == "llm"]
    assert sum(one["tokenCountPrompt"] for one in calls) == sum(one.input_tokens for one in tasks)
    assert sum(one["tokenCountCompletion"] for one in calls) == sum(one.output_tokens for one in tasks)
    assert shown["tokenCountTotal"] == sum(one.usage.tokens for one in tasks)
    assert paid > 0.02  # or "to the cent" would mean nothing
    assert shown["costSummary"]["total"]["cost"] == pytest.approx(paid, abs=0.000_01)
