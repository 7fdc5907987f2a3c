"""`sam validate --lint` for several regions: cfn-lint once, not once by itself and once more by SAM.

By path, on the interpreter that has SAM: ``python -P deploy/template_lint.py TEMPLATE REGION…``. SAM reads the template
as it does before it builds, and then asks cfn-lint, but for one region only. Here it asks for all of them. What
cfn-lint's own command finds in a template this finds, too: it has the same rules from the same function.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def main(template: str, regions: list[str]) -> None:
    """Hold a template against each region's rules, and end with SAM's exit status."""
    from cfnlint import api

    lint = api.lint

    def everywhere(text: str, *, config: Any) -> Any:
        if config.get("regions") != regions[:1]:  # it has changed what it asks for, and with that what this would do
            raise RuntimeError(f"SAM asks cfn-lint otherwise: {config}")
        return lint(text, config={**config, "regions": regions})

    api.lint = everywhere
    from samcli.cli.main import cli

    os.environ["AWS_DEFAULT_REGION"] = regions[0]
    cli(["validate", "--lint", "--region", regions[0], "--template", template])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
