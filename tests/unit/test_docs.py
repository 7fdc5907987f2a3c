"""What the documentation says is held against the code: examples are run, commands, links and names exist."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from functools import cache

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel

from deploy.stack import read_template
from tests.docs import BLOCKS, PAGES, ROOT, Block

TEMPLATE = read_template(ROOT / "template.yaml")
ALARMS = {
    properties["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-"): properties["AlarmDescription"]
    for properties in (r["Properties"] for r in TEMPLATE["Resources"].values() if r["Type"] == "AWS::CloudWatch::Alarm")
}
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
CODE = "\n".join(path.read_text() for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*.py"))
NOT_RUN: list[dict[str, str]] = tomllib.loads((ROOT / "tests/docs_not_run.toml").read_text())["block"]
SHELL = [block for block in BLOCKS if block.language in ("sh", "bash", "shell", "console")]


# ---- the runbook


def test_every_alarm_has_its_section_and_no_section_lacks_an_alarm() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)
    assert sections[0] == "First"
    assert sections[1:] == list(ALARMS)


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_leads_to_a_whole_section(alarm: str) -> None:
    assert ALARMS[alarm].endswith(f"See docs/runbook.md, {alarm}.")
    section = RUNBOOK.partition(f"\n## {alarm}\n")[2].partition("\n## ")[0].lower()
    assert all(f"**{part}" in section for part in ("means", "harmless"))
    assert all(part in section for part in ("look", "do"))


def test_queries_ask_for_what_is_logged() -> None:
    logged = set(re.findall(r'\.(?:info|warning|error|exception)\(\s*f?"([^"%{]+)"', CODE))
    logged |= set(re.findall(r'logs\.head\(\w+, "[A-Z]+", "([^"]+)"', CODE))
    asked = set(re.findall(r'message = "([^"]+)"', RUNBOOK))
    for several in re.findall(r"message in \[([^\]]+)\]", RUNBOOK):
        asked |= set(re.findall(r'"([^"]+)"', several))
    assert asked
    assert asked <= logged


# ---- metrics


def emitted() -> set[str]:
    counted = re.findall(r'metrics\.count\(\s*"(\w+)"(?: if [^"]+ else "(\w+)")?', CODE)
    valued = re.findall(r'"([A-Z]\w+)": \((?:(?!": \().)*?, "(?:Count|Seconds|Percent)"\)', CODE)
    return {name for names in counted for name in names if name} | set(valued)


def test_every_metric_is_explained_and_nothing_else() -> None:
    table = OPERATIONS.partition("## What each metric means")[2].partition("\n## ")[0]
    explained = {name for row in re.findall(r"^\| (`[^|]+) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)}
    assert explained == emitted()


def test_the_runbook_sums_metrics_that_there_are() -> None:
    assert set(re.findall(r"^sum (\w+)", RUNBOOK, re.M)) <= emitted()


# ---- examples


def test_every_shell_example_is_run_or_listed_with_a_reason() -> None:
    listed = {(one["page"], one["starts"]) for one in NOT_RUN}
    assert len(listed) == len(NOT_RUN)
    assert all(one["why"].strip() for one in NOT_RUN)
    assert {(block.page, block.first_line) for block in SHELL if not block.run_by} == listed


@pytest.mark.parametrize("block", SHELL, ids=lambda block: f"{block.page}:{block.line}")
def test_a_shell_example_can_be_read_by_a_shell(block: Block) -> None:
    told = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.run_by], ids=lambda block: f"{block.page}:{block.line}")
def test_who_is_said_to_run_an_example_is_there(block: Block) -> None:
    assert block.run_by
    assert (ROOT / block.run_by).exists()


def test_what_is_said_to_be_typed_elsewhere_is() -> None:
    copies = [block for block in BLOCKS if block.typed_in]
    assert copies
    for block in copies:
        typed = "\n".join(b.code for b in BLOCKS if b.page == block.typed_in and b.info == "tutorial").splitlines()
        places = [typed.index(line) for line in block.code.splitlines()]  # ValueError: it is not typed there
        last = len(typed) - 1 - typed[::-1].index(block.code.splitlines()[-1])
        assert [*places[:-1], last] == sorted([*places[:-1], last])


# ---- commands of AWS's command line, held against the services' own descriptions

HIGHER = {("s3", "rm"), ("s3", "mb"), ("logs", "tail"), ("dynamodb", "wait")}
"""Commands that are more than one call."""
GENERAL = {"query", "output", "region", "no-cli-pager", "max-items"}


@cache
def service(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


def commands() -> list[tuple[str, str]]:
    found = []
    for block in SHELL:
        text = block.code.replace("\\\n", " ")
        found += [(block.page, match) for match in re.findall(r"\baws (?!::)([a-z0-9-]+ [a-z0-9-]+[^\n]*)", text)]
    for page, text in PAGES.items():
        found += [(page, match) for match in re.findall(r"`aws ([a-z0-9-]+ [a-z0-9-]+[^`]*)`", text)]
    return found


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_of_aws_has_this_operation_and_these_options(page: str, command: str) -> None:
    name, operation, *_ = command.split()
    if (name, operation) in HIGHER:
        return
    model = service("s3" if name == "s3api" else name)
    known = {xform_name(each, "-"): each for each in model.operation_names}
    assert operation in known
    members = getattr(model.operation_model(known[operation]).input_shape, "members", {})
    allowed = {xform_name(member, "-") for member in members} | GENERAL
    mine = command.split("$(aws")[0]
    for option in re.findall(r"(?<=\s)--([a-z0-9-]+)", re.split(r"\)\"? |; | \| ", mine)[0]):
        assert option in allowed or option.removeprefix("no-") in allowed


# ---- names, links


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", PAGES[page]):
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    for name in re.findall(
        r"`((?:functions|shared|deploy|tests|localstack|benchmarks|docs|requirements)/[\w./-]+)", PAGES[page]
    ):
        assert "NAME" in name or (ROOT / name.rstrip(".")).exists(), name  # NAME: the reader's own


@pytest.mark.parametrize("page", PAGES)
def test_modules_and_targets_that_are_called_exist(page: str) -> None:
    for module in re.findall(r"python -m ((?:deploy|localstack|benchmarks)(?:\.\w+)*)", PAGES[page]):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    rules = "".join((ROOT / path).read_text() for path in ("Makefile", "benchmarks/Makefile"))
    targets = set(re.findall(r"^([a-z-]+):", rules, re.M))
    for target in re.findall(r"`make ([a-z-]+)", PAGES[page]):
        assert target in targets, target


def parameters_in(text: str) -> set[str]:
    """Names that are set in a command or written as one of several in prose, as far as that can be told."""
    return set(re.findall(r"\b([A-Z][A-Za-z0-9]+)=(?!\$\()", text)) - {"Name", "Value", "Key", "SourceAccount"}


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "docs/runbook.md", "docs/security.md"])
def test_parameters_that_are_set_exist(page: str) -> None:
    text = re.sub(r"Name=[\w]+,Value=", "", PAGES[page])
    other = {
        "OutputKey",
        "EndpointType",
        "CertificateArn",
        "ThrottlingBurstLimit",
        "ThrottlingRateLimit",
        "Enabled",
        "MaximumConcurrency",
        "PROFILE",
        "HTTP",
        "Type",
    }
    assert {name for name in parameters_in(text) if not name.isupper()} - other <= set(TEMPLATE["Parameters"])


# ---- costs


def test_the_costs_of_a_day_are_those_of_the_simulation() -> None:
    found = json.loads((ROOT / "benchmarks/results/daily_cost.json").read_text())
    columns = [
        found["usd_per_day"][name] for name in ("Sluice, 10 slots", "Sluice, 10 slots, own VPC", "Sluice, 50 slots")
    ]
    for runs, *usd in zip(found["runs_per_day"], *columns, strict=True):
        assert f"| {runs:,} | {' | '.join(f'{each:.2f}' for each in usd)} |" in OPERATIONS


def test_the_tiers_of_the_page_are_those_of_the_table() -> None:
    page = (ROOT / "docs/limits.md").read_text()
    for name, tier in json.loads((ROOT / "shared/limits/tiers.json").read_text()).items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` | ") and line.count("|") == 8)
        if name != "load":
            assert f"| {tier['queued']:,} | {tier['running']} | {tier['tokens_per_day']:,} |" in row
            assert f"| {tier['usd_per_day']:.2f} |" in row or f"| {tier['usd_per_day']} |" in row


def test_the_standing_costs_follow_from_the_price_list() -> None:
    read = json.loads((ROOT / "benchmarks/capacity_data/prices.json").read_text())
    standing = {name: one.get("usd", one.get("gb")) for name, one in read["standing"].items()}
    hours = 730
    valkey = read["per_unit"]["valkey_gb_hour"]["usd"] * standing["valkey_least_gb"] * hours
    endpoint = standing["endpoint_zone_hour"] * 2 * hours
    nat = (standing["nat_gateway_hour"] + standing["public_ipv4_hour"]) * hours
    managed = {
        "none": valkey + standing["secret_month"] + 3 * endpoint,
        "one": valkey + standing["secret_month"] + endpoint + nat,
        "per-zone": valkey + standing["secret_month"] + endpoint + 2 * nat,
    }
    alarms = [
        r["Properties"]
        for r in TEMPLATE["Resources"].values()
        if r["Type"] == "AWS::CloudWatch::Alarm" and r["Condition"] == "Monitored"
    ]
    watched = sum(sum("MetricStat" in m for m in alarm["Metrics"]) if "Metrics" in alarm else 1 for alarm in alarms)
    sources = sum(r["Type"] == "AWS::Lambda::EventSourceMapping" for r in TEMPLATE["Resources"].values())
    idle = json.loads((ROOT / "benchmarks/capacity_data/operations.json").read_text())["empty_receives_per_second"]
    receives = idle * sources * hours * 3600 * read["per_unit"]["sqs_request"]["usd"]
    for line in (
        f"| managed Valkey: 100 MB, the least that is metered | {valkey:.2f} |",
        f"(`NatGateways` `one` or `per-zone`) | {endpoint:.2f} |",
        f"in two zones (`none`) | {3 * endpoint:.2f} |",
        f"| a NAT gateway with its address | {nat:.2f} |",
        *(f"| **ManagedRedis, `{choice}`** | **{usd:.2f}** |" for choice, usd in managed.items()),
        f"| alarms: {len(alarms)} on {watched} metrics | {watched * standing['alarm_metric_month']:.2f} |",
        f"21, published every minute | {21 * standing['custom_metric_month']:.2f} |",
        f"| dashboard | {standing['dashboard_month']:.2f} |",
        f"| empty receives of nine event sources | {receives:.2f} |",
        f"| `ManagedRedis=true NatGateways=none` | USD {managed['none']:.0f} |",
        f"| `ManagedRedis=true` | USD {managed['one']:.0f} |",
        f"| `ManagedRedis=true NatGateways=per-zone` | USD {managed['per-zone']:.0f} |",
    ):
        assert line in OPERATIONS
    assert sources == 9


def test_the_costs_of_runs_are_those_of_the_simulations() -> None:
    names = ("default", "day", "million")
    found = [json.loads((ROOT / f"benchmarks/results/capacity_{name}.json").read_text()) for name in names]

    def row(label: str, figures: list[float], mark: str = "") -> str:
        return f"| {mark}{label}{mark} | " + " | ".join(f"{mark}{usd:.4f}{mark}" for usd in figures) + " |"

    for label in found[0]["usd_per_1000_runs"]:
        assert row(label, [one["usd_per_1000_runs"][label] for one in found]) in OPERATIONS
    assert row("AWS together", [one["usd_per_1000_runs_aws"] for one in found], "**") in OPERATIONS
    for way, label in (("webhook", "are called back by webhooks"), ("long-poll", "hold long polls")):
        figures = [one["watching_alternatives_usd"][way] for one in found]
        assert row(f"together, if clients {label}", figures) in OPERATIONS


def test_the_readme_tells_the_newest_comparison_of_builds() -> None:
    found = json.loads((ROOT / "benchmarks/results/before_after.json").read_text())
    told = PAGES["README.md"].partition("## What it costs")[2].partition("\n## ")[0]
    digits = {  # of the figure before, and of today's
        "write_units_per_call": (0, 0),
        "write_units_per_run": (0, 0),
        "usd_per_1000_million": (2, 3),
        "usd_per_1000_default": (2, 3),
        "p99_wait_step_s": (0, 1),
        "cpu_one_environment_ratio": (2, 2),
        "cpu_two_environments_ratio": (2, 2),
        "cold_api_ratio": (2, 2),
        "cold_worker_ratio": (2, 2),
        "submit_ratio": (2, 2),
    }
    for name, (before, after) in digits.items():
        assert f"{found['before'][name]:.{before}f}" in told, name
        assert f"{found['after'][name]:.{after}f}" in told, name
    assert ("Worse" in told) == bool(found["worse"])
