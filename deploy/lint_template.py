"""Holds the template against cfn-lint, in several regions, and against SAM's translation, in one process.

``python -m deploy.lint_template template.yaml REGION…``, in SAM's environment, does what these commands do::

    sam validate --template template.yaml
    sam validate --lint --template template.yaml --region REGION   # which is cfn-lint in one region
    cfn-lint -r REGION… -t template.yaml

Each of them would load the others' libraries anew, and the second would hold the template against the same rules again.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys

from cfnlint.config import ConfigMixIn
from cfnlint.runner import Runner
from samcli.cli.context import Context
from samcli.commands.exceptions import UserException
from samcli.commands.validate.validate import do_cli


def main(template: str, *regions: str) -> None:
    """Exit with 0 if none of them complains; what they say is printed.

    Raises:
        SystemExit: always; cfn-lint's runner ends so.
    """
    gc.disable()  # half a second: what the rules make is wanted to the end
    os.environ["AWS_DEFAULT_REGION"] = regions[0]
    context = Context()
    context.region = regions[0]
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # advice to ask for --lint, too
            do_cli(context, template, lint=False, language_extensions=False)
    except UserException as error:
        sys.exit(f"sam validate: {error}")
    Runner(ConfigMixIn(["-r", *regions, "-t", template])).cli()


if __name__ == "__main__":
    main(*sys.argv[1:])
