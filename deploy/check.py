"""Shows before a deployment what it would make, what that costs, and what the account refuses.

``python -m deploy.check --profile small Name=value …``; an error ends it with status 1.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from botocore.exceptions import BotoCoreError, ClientError

from deploy import chosen, costs, preflight, profiles
from deploy.bundle import ROOT
from deploy.change_set import DeployError
from deploy.checks import check_parameters
from deploy.stack import read_template


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description=__doc__)
    parser.add_argument("--stack", default="sluice")
    parser.add_argument("--profile", choices=profiles.NAMES, help="parameters of samconfig.toml")
    parser.add_argument("parameters", nargs="*", metavar="Name=value")
    asked = parser.parse_args(arguments)
    pairs = [pair.partition("=") for pair in asked.parameters]
    if any(not equals for _, equals, _ in pairs):
        parser.error("parameters look like Name=value")
    given = (profiles.read(asked.profile) if asked.profile else {}) | {name: value for name, _, value in pairs}
    template = read_template(ROOT / "template.yaml")
    try:
        check_parameters(template, given)
    except DeployError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    made = Counter(one["Type"] for one in chosen.resources(template, given).values())
    print(f"{sum(made.values())} resources:")
    print("\n".join(f"  {count:3} {kind}" for kind, count in sorted(made.items())))
    lines, day = costs.idle(template, given), costs.idle_day(template, given)
    print(f"\nidle, USD {day:.2f} a day, {day * costs.DAYS:.2f} a month:")
    print("\n".join(f"  {line.usd_per_day:8.4f} {line.what}" for line in lines))
    print("\nwith runs of 36 s and three model calls, without model tokens, about:")
    for runs, usd in costs.loaded_days(template, given):
        print(f"  {runs:7,} runs a day: USD {usd:.2f} a day")
    print("\nthe account:")
    try:
        found = preflight.check(template, given, asked.stack)
    except (ClientError, BotoCoreError) as error:
        print(f"  it cannot be asked: {error}", file=sys.stderr)
        return 1
    return preflight.tell(found, "  ")


if __name__ == "__main__":
    sys.exit(main())
