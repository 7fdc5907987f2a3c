"""A new user's first steps, from the built wheel, in an empty folder: install, init, up, run, test, down.

The tests go on in one project, in their order, and with one system: each start of one costs ten seconds. So the
tutorial's last command, which stops it, is the last test's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import paths
from localstack.environ import ROOT
from localstack.system import PARTS
from tests.docs import BLOCKS
from tests.stack_fixture import free_ports

pytestmark = pytest.mark.timeout(900)  # it installs, builds and deploys, on a machine that may be busy


class Shop:
    """A project in a folder of its own, with the command of an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = folder / ".venv"
        self.root = folder / "shop"
        names = ("AWS_PORT", "REDIS_PORT", "LLM_PORT", "STREAM_PORT")
        ports = dict(zip(names, map(str, free_ports(4)), strict=True))
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE", "AWS_", "OPENAI"))}
        keep["PIP_NO_COMPILE"] = "0"  # which is pip's way to say yes: what is never imported need not be compiled
        for name in ("REDIS_URL", "VIRTUAL_ENV", "PYTHONPATH"):  # what the tests' own system has
            keep.pop(name, None)
        path = f"{self.environment / 'bin'}{os.pathsep}{keep['PATH']}"
        self.cache = folder / "cache"
        self.variables = keep | ports | {"PATH": path, "COLUMNS": "200", "SLUICE_CACHE": str(self.cache)}

    def share(self) -> None:
        """Have what depends on pins alone from where this checkout has it, as a user has whose second project it is.

        On a fresh machine that is empty: there all is made, beside the other suites, which build the same bundles.
        """
        self.cache.mkdir()
        for name in ("environments", "deps", "bytecode"):
            (paths.CACHE / name).mkdir(parents=True, exist_ok=True)
            (self.cache / name).symlink_to(paths.CACHE / name)

    def link_python(self) -> None:
        """Let ``python3`` be the machine's own, older perhaps than what the system runs on, unless it is too old."""
        code = "import sys; sys.exit(sys.version_info < (3, 11))"
        if subprocess.run(["python3", "-c", code], cwd=self.folder, capture_output=True, check=False).returncode:
            (self.folder / "bin").mkdir()
            (self.folder / "bin" / "python3").symlink_to(sys.executable)
            self.variables["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{self.variables['PATH']}"

    def run(self, *command: str, where: Path | None = None, expect: int = 0) -> str:
        done = subprocess.run(
            command, cwd=where or self.root, env=self.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == expect, (command, done.stdout, done.stderr)
        return done.stdout

    def sluice(self, *arguments: str, expect: int = 0) -> str:
        return self.run("sluice", *arguments, expect=expect)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("user")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "wheel")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    made = Shop(folder)
    shutil.copy2(next((folder / "wheel").glob("*.whl")), folder)
    made.link_python()
    made.share()
    yield made
    if any((made.root / ".sluice" / "state" / "pids").glob("*")):  # a test failed before its end
        made.run("sluice", "down")


STEPS = (
    "pip install", "sluice init shop", "cd shop", "sluice up", 'sluice run hello "Say hello"', "python -m pytest",
    "sluice down",
)  # fmt: skip
"""What a new user's first minutes are made of."""


TUTORIAL = "docs/tutorial-first-agent.md"


def typed(page: str) -> tuple[str, str]:
    """Return a page's blocks as a script, commands as they stand there, files as their text; and its last command."""
    lines = []
    for block in BLOCKS:
        kind, _, file = block.info.partition(" ")
        if block.page == page and kind == "tutorial":
            lines.append(f"cat > {file} <<'END'\n{block.code}END\n" if file else block.code)
    return "\n".join(lines[:-1]), lines[-1].strip()


def test_the_tutorial_works_as_it_stands(shop: Shop) -> None:
    script, last = typed(TUTORIAL)
    places = [script.index(step) for step in STEPS[:-1]]
    assert places == sorted(places)
    assert last == STEPS[-1]
    told = shop.run("bash", "-euc", script, where=shop.folder)
    assert "complete" not in told  # on standard error; the text alone is on standard output
    assert "agents: count, hello" in told
    assert "2 passed" in told
    assert "3 passed" in told


def test_its_environment_has_no_other_name_of_sluices(shop: Shop) -> None:
    listed = shop.run(str(shop.environment / "bin" / "pip"), "show", "--files", "sluice").partition("Files:")[2]
    tops = {line.strip().partition("/")[0] for line in listed.splitlines() if line.strip()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"..", "sluice"}  # `..`: the command
    code = "import shared, sys"
    assert "ModuleNotFoundError" in subprocess.run(
        [str(shop.environment / "bin" / "python"), "-c", code], capture_output=True, text=True, check=False, cwd="/"
    ).stderr  # fmt: skip


def test_an_edited_agent_is_live_while_one_watches(shop: Shop) -> None:
    with subprocess.Popen(
        ["sluice", "up", "--watch"], cwd=shop.root, env=shop.variables, stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        try:
            while "watching" not in watching.stdout.readline():
                assert watching.poll() is None
            agent = shop.root / "agents" / "hello.py"
            for word in ("first", "second"):
                text = "from sluice import AgentResult\n\n\nasync def run(ctx):\n    return AgentResult('WORD')\n"
                agent.write_text(text.replace("WORD", word))
                while "live after" not in watching.stdout.readline():
                    assert watching.poll() is None
                found = json.loads(shop.sluice("run", "hello", "?", "--json").splitlines()[-1])
                assert found["result"]["response"] == word
        finally:
            watching.terminate()


def test_a_run_that_fails_ends_the_command_with_1(shop: Shop) -> None:
    told = shop.sluice("run", "count", "[[sim fail=400]] hello", "--json", expect=1)
    last = json.loads(told.splitlines()[-1])
    assert (last["status"], last["error"]["code"]) == ("failed", "invalid_request")
    assert json.loads(shop.sluice("run", "nobody", "hello", "--json", expect=4))["error"]["code"]


def test_keys_are_made_by_stage(shop: Shop) -> None:
    assert "whsec_" in shop.sluice("operate", "local", "key", "create", "ada", "--tier", "vip")
    assert " ada " in shop.sluice("operate", "local", "key", "list")
    shop.sluice("operate", "nowhere", "redrive", expect=1)


def test_a_package_shared_of_ones_own_and_a_missing_import(shop: Shop) -> None:
    """In the bundle and in tests alike; nothing is deployed while an import is missing."""
    agents = shop.root / "agents"
    (shop.root / "shared").mkdir(exist_ok=True)
    (shop.root / "shared" / "prices.py").write_text("APPLE = 3\n")
    (agents / "price.py").write_text(
        "from shared.prices import APPLE\nfrom sluice import AgentResult, Context\nimport markdown_gone\n\n\n"
        "async def run(ctx: Context) -> AgentResult:\n    return AgentResult(f'apples: {APPLE}')\n"
    )
    told = json.loads(shop.sluice("check", "--json", expect=1))
    assert told["complaints"][0].startswith("agents/price.py:3: imports markdown_gone")
    shop.sluice("up", expect=1)
    text = (agents / "price.py").read_text()
    (agents / "price.py").write_text(text.replace("import markdown_gone\n", ""))
    (shop.root / "notes.txt").write_text("no agent's\n")
    built = shop.root / ".sluice" / ".aws-sam" / "build"
    before = (built / "SweeperFunction").stat()
    shop.sluice("up")
    assert (built / "SweeperFunction").stat().st_ino == before.st_ino  # it holds nothing of the project
    found = json.loads(shop.sluice("run", "price", "apples?", "--json").splitlines()[-1])
    assert found["result"]["response"] == "apples: 3"
    (shop.root / "tests" / "test_price.py").write_text(
        "from sluice.testing import World\n\nfrom shared.prices import APPLE\n\n\ndef test_it(world: World) -> None:\n"
        "    run = world.submit('?', agent='price')\n    world.work()\n"
        "    assert world.result(run).response == f'apples: {APPLE}'\n"
    )
    assert "1 passed" in shop.run("python", "-m", "pytest", "tests/test_price.py")


def test_down_leaves_nothing_running(shop: Shop) -> None:
    (stopped,) = shop.run("sh", "-euc", typed(TUTORIAL)[1]).splitlines()
    assert stopped.removeprefix("stopped: ").split(", ") == list(PARTS)
    assert json.loads(shop.sluice("status", "--json", expect=1)) == {"up": False, "api_url": None}
    assert "not up" in shop.run("sh", "-c", "sluice run hello hi 2>&1; test $? = 3")
