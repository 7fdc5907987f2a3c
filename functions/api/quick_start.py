"""Imported before FastAPI, in a function: what its import would make that a request never needs.

- FastAPI's models of an API's description, a hundred, are built when they are imported: a tenth of a cold start. Here
  every model is built when it is first used.
- FastAPI imports pydantic's first version to refuse its models, and takes its absence for "none is one": 5 %.
- Nothing that is imported becomes garbage, and Python would look for some in it 67 times: 8 %. `ready` ends this.

Should a later version of either not care for this, starts are slower and nothing else changes.
"""

import gc
import sys

gc.disable()
import pydantic  # noqa: E402 - here: hundreds of those looks are its own

pydantic.BaseModel.model_config["defer_build"] = True
sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]  # how Python itself marks what cannot be had


def ready() -> None:
    """Collect garbage from now on, and never look at what is there already: it stays."""
    gc.freeze()
    gc.enable()
