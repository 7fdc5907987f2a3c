"""Writes docs/aws-limits.md from the rules: ``make limits-page``. A test fails while the page is out of date."""

from __future__ import annotations

from pathlib import Path

from localstack.strict.rules import CHECKED, RULES, STRICTER, WRONG

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "aws-limits.md"

INTRO = f"""# Limits of AWS

Made by `make limits-page` from `localstack/strict/rules.py`. The figures are those known on {CHECKED}.

Nobody can try Sluice on a real account before each change. So the local AWS refuses what AWS refuses: MiniStack, the
emulator, runs behind a *strict front* (`localstack/strict`), which enforces the limits that MiniStack lacks. A request
over a limit gets the answer that AWS would give. It is also noted, and the tests fail at their end if any was noted.

- See what was noted: `curl $AWS/_strict/report` (`DELETE` forgets it). It also counts the series of each metric, and
  tells which invocations are under way.
- Run without the front: `STRICT=false make up`.

"Enforced by" says who refuses locally: the front, or MiniStack itself. Where it is the test
alone, the limit is one of what is deployed, and the test holds `template.yaml` against it.
"""


def page() -> str:
    """Return the page's text."""
    lines = [INTRO, "| service | limit | where Sluice meets it | enforced by | test |", "|---|---|---|---|---|"]
    for rule in RULES.values():
        test = f"[`{rule.test.rsplit('/', 1)[1]}`](../{rule.test})"
        lines.append(f"| {rule.service} | [{rule.limit}]({rule.source}) | {rule.where} | {rule.by} | {test} |")
    lines += ["", "## Where MiniStack is stricter than AWS", "", *(f"- {text}" for text in STRICTER)]
    lines += ["", "## Where MiniStack is wrong", "", *(f"- {text}" for text in WRONG)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
