"""Each function's bundle holds what the function imports, and not what it does not."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import botocore
import pytest

from deploy import bundle
from deploy.stack import read_template
from localstack.environ import bundle_platform

TEMPLATE = read_template(bundle.ROOT / "template.yaml")
FORBIDDEN = {
    "ApiFunction": ("openai", "httpx2", "aiohttp", "functions/worker"),
    "WorkerFunction": ("fastapi", "mangum", "aiohttp", "functions/api"),
    "SweeperFunction": ("openai", "fastapi", "httpx2", "pydantic"),
}
BUDGET = Path(__file__).parent / "import_budget.json"
"""What importing each handler may load: an environment pays for it at every cold start. A new name is a decision."""
SPARED = {
    "ApiFunction": {
        "functions.api.description.task_documents",
        "functions.api.description.bulk_documents",
        "functions.api.description.openai_documents",
        "functions.api.description.owner_documents",
        "functions.api.description.openapi",
        "functions.api.read.show",
        "functions.api.system.stats",
        "shared.limits.breaker",
        "shared.scaling",
        "shared.tasks.claims",
        "shared.tasks.settle",
    }
}
"""Our own modules that wait until a request needs them: all answers' models, what a task's end takes, the scaler's
policy."""
SPARED_BY_ALL = {"boto3.session", "redis.asyncio.client", "redis.cluster", "redis.sentinel", "s3transfer", "statistics"}
"""Parts of packages that no function needs to begin."""
OURS = {"functions", "shared", "sluice"}
HEAVY = {"asyncio", "concurrent", "ctypes", "email", "multiprocessing", "sqlite3", "ssl", "unittest", "xml"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    patch = pytest.MonkeyPatch()
    patch.setenv("BUNDLE_PLATFORM", bundle_platform())
    private = bundle.ROOT / ".tools/uv/bin/uv"
    patch.setenv("UV", os.environ.get("UV") or (str(private) if private.exists() else "uv"))
    made = {}
    for name in bundle.FUNCTIONS:
        made[name] = tmp_path_factory.mktemp(name)
        bundle.main(name, made[name])
    patch.undo()
    return made


def test_workers_bring_the_loop_that_they_run_on(bundles: dict[str, Path]) -> None:
    """They would run without it, and take a sixth more processor time."""
    assert list(bundles["WorkerFunction"].glob("uvloop/loop.*.so"))


def test_every_function_of_the_template_has_a_bundle() -> None:
    functions = {n for n, resource in TEMPLATE["Resources"].items() if resource["Type"] == "AWS::Serverless::Function"}
    assert functions == set(bundle.FUNCTIONS)


@pytest.mark.parametrize("name", list(bundle.FUNCTIONS))
def test_the_handler_imports_from_its_bundle_alone(name: str, bundles: dict[str, Path]) -> None:
    module, _, function = TEMPLATE["Resources"][name]["Properties"]["Handler"].rpartition(".")
    code = (
        f"import sys; sys.path.insert(0, {str(bundles[name])!r}); import {module} as m; assert callable(m.{function})\n"
        "import gc; assert gc.isenabled(), 'no garbage would be collected'\n"
        "print(*sys.modules)"
    )
    environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": name}
    # -I and -S: neither the project nor this environment's packages can help out.
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert imported(done.stdout.split()) == json.loads(BUDGET.read_text())[name]
    assert not (SPARED.get(name, set()) | SPARED_BY_ALL) & set(done.stdout.split())


def imported(modules: list[str]) -> list[str]:
    """Reduce what is in memory to what a cold start pays for: foreign packages, and heavy parts of Python's own."""
    tops = {name.partition(".")[0] for name in modules}
    foreign = {top for top in tops if top not in sys.stdlib_module_names and not top.startswith("_")}
    return sorted((foreign - OURS) | (tops & HEAVY))


@pytest.mark.parametrize("name", list(FORBIDDEN))
def test_a_bundle_holds_nothing_foreign(name: str, bundles: dict[str, Path]) -> None:
    assert [entry for entry in FORBIDDEN[name] if (bundles[name] / entry).exists()] == []


def test_agents_import_from_the_workers_bundle_alone(bundles: dict[str, Path]) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(bundles['WorkerFunction'])!r})\n"
        "from functions.worker import agents\nfrom functions.worker.environment import clients\n"
        "[agents.load(name) for name in agents.names()]\n"
        "import openai"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, env={"PATH": os.environ["PATH"]})


def test_descriptions_of_services_lose_their_words_and_nothing_else(bundles: dict[str, Path]) -> None:
    whole = Path(botocore.__file__).parent / "data"
    found = sorted((bundles["WorkerFunction"] / "botocore/data").glob("*/*/service-2.json"))
    assert {path.parent.parent.name for path in found} == bundle.AWS_SERVICES
    for path in found:
        ours = json.loads(path.read_text())
        packed = whole / path.parent.parent.name / path.parent.name / "service-2.json.gz"
        theirs = json.loads(gzip.decompress(packed.read_bytes()))
        assert ours == bundle.without_words(theirs)
        assert ours["operations"].keys() == theirs["operations"].keys()
        assert {name: one["type"] for name, one in ours["shapes"].items()} == {
            name: one["type"] for name, one in theirs["shapes"].items()
        }
    member = {"members": {"documentation": {"shape": "A", "documentation": "<p>What it is.</p>"}}}
    assert bundle.without_words([member]) == [{"members": {"documentation": {"shape": "A"}}}]


def test_a_trimmed_botocore_knows_every_regions_endpoints(bundles: dict[str, Path]) -> None:
    code = (
        "import json, sys, boto3\n"
        "for region in ('us-east-1', 'eu-central-1', 'cn-north-1', 'us-gov-west-1'):\n"
        f"    for name in {sorted(bundle.AWS_SERVICES)!r}:\n"
        "        client = boto3.client(name, region_name=region)\n"
        "        print(client.meta.endpoint_url)\n"
        "        client.meta.service_model.client_context_parameters\n"
    )
    environment = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    told = [
        subprocess.run(
            [sys.executable, "-I", *more], check=True, env=environment, capture_output=True, text=True
        ).stdout
        for more in (
            ("-c", code),
            ("-S", "-c", f"import sys; sys.path.insert(0, {str(bundles['ApiFunction'])!r})\n{code}"),
        )
    ]
    ours = bundles["ApiFunction"] / "botocore/data/endpoints.json"
    whole = Path(botocore.__file__).parent / "data/endpoints.json"
    assert ours.stat().st_size < 100_000 < 1_000_000 < whole.stat().st_size  # and not the same file
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 4 * len(bundle.AWS_SERVICES)
