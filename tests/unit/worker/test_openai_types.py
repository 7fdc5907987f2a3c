"""The types of `openai` are read when they are asked for, and are then what they always were."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from localstack.environ import ROOT

PUT_OFF = "from functions.worker.environment.openai_types import put_off; put_off()\n"
LOADED = "[n for n in sys.modules if n.startswith('openai.types.responses.')]"


def said_by(code: str) -> Any:
    """Run code in a process of its own; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import json, sys\n{code}"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def each_said_by(before: str, codes: list[str]) -> list[Any]:
    """Run a beginning once, and then each code as if it came right after it, in a copy of the process."""
    return list(
        said_by(f"""
import os
{before}
def apart(code):
    reads, writes = os.pipe()
    if os.fork() == 0:
        os.dup2(writes, 1)
        exec(code, {{'json': json, '__name__': '__main__'}})
        sys.stdout.flush()
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as said:
        found = json.load(said)
    assert os.wait()[1] == 0
    return found
print(json.dumps([apart(code) for code in {codes!r}]))
""")
    )


def test_the_worker_and_its_client_read_none() -> None:
    found = said_by(f"""
from functions.worker.environment import clients
import functions.worker.handler, openai
openai.AsyncOpenAI(api_key="k", http_client=clients.http())
print(json.dumps(len({LOADED})))
""")
    assert found <= 1  # the one that the client itself names


PACKAGES = ["openai.types", "openai.types.responses"]
NAMES = """
import openai, importlib
everything = {{}}
exec("from {package} import *", everything)
module = importlib.import_module("{package}")
print(json.dumps([sorted(n for n in everything if n != "__builtins__"), sorted(n for n in dir(module) if n[0] != "_")]))
"""
THREADS = """
from concurrent.futures import ThreadPoolExecutor
import openai
def ask(n):
    if n % 2:
        return openai.types.responses.Response.__name__
    from openai.types.responses import ResponseStreamEvent, response
    return response.Response.__name__
with ThreadPoolExecutor(8) as pool:
    print(json.dumps(sorted(set(pool.map(ask, range(16))))))
"""
WAYS = [
    "from openai.types import Completion as One; print(json.dumps(One.__name__))",
    "from openai.types.responses import Response as One; print(json.dumps(One.__name__))",
    "import openai.types.responses.response as m; print(json.dumps(m.Response.__name__))",
    "import openai; print(json.dumps(openai.types.responses.Response.__name__))",
    "import openai.types.chat as m; print(json.dumps(m.ChatCompletion.__name__))",
    "import openai; print(json.dumps(hasattr(openai.types, 'Nothing')))",
    "import openai; r = openai.types.responses.Response.model_validate; print(json.dumps(callable(r)))",
    "import openai, inspect; print(json.dumps(len(inspect.getsource(openai.types)) > 100))",
]
CODES = [*WAYS, *(NAMES.format(package=package) for package in PACKAGES), THREADS]


@pytest.fixture(scope="module")
def as_ever() -> dict[str, Any]:
    """Return what each code finds where the types are not put off."""
    return dict(
        zip(CODES, each_said_by("import openai, openai.types.responses, openai.types.chat", CODES), strict=True)
    )


@pytest.fixture(scope="module")
def late() -> dict[str, Any]:
    """Return what each finds where they are, and nothing was asked for before."""
    return dict(zip(CODES, each_said_by(f"{PUT_OFF}import openai\nassert len({LOADED}) <= 1", CODES), strict=True))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_all_of_its_names(package: str, as_ever: dict[str, Any], late: dict[str, Any]) -> None:
    put_off, whole = (found[NAMES.format(package=package)] for found in (late, as_ever))
    assert put_off[0] == whole[0]
    assert set(whole[1]) <= set(put_off[1])


@pytest.mark.parametrize("code", WAYS)
def test_a_name_is_found_whichever_way_it_is_asked_for(
    code: str, as_ever: dict[str, Any], late: dict[str, Any]
) -> None:
    assert late[code] == as_ever[code]


def test_threads_that_ask_together_all_get_it(late: dict[str, Any]) -> None:
    assert late[THREADS] == ["Response"]
