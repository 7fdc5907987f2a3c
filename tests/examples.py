"""How many examples a property is tried with: a part of them in `make test`, all with ``HYPOTHESIS_PROFILE=thorough``.

Only of those that take seconds of processor time; `make test-thorough` runs their files whole.
"""

import os

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def examples(thorough: int, *, usual: int) -> int:
    """Return how many to try now."""
    return thorough if THOROUGH else usual
