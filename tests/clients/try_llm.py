"""`llm` against the running local system, as a model of `extra-openai-models.yaml`, where it is told of others."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from tried import BASE, HELLO, KEY, LONG, MODEL, SECRET, SLOW, STRUCTURED, TOOL, Tries, tried


class Answer(BaseModel):
    """A number."""

    number: int


def lookup(word: str) -> str:
    """Look a word up."""
    return SECRET


def tries(model: Any) -> Tries:
    """Return what is tried with a model of `llm`'s."""
    return {
        "hello": lambda: model.prompt(HELLO, stream=False).text(),
        "stream": lambda: "".join(model.prompt(LONG)),
        "tools": lambda: model.chain(TOOL, tools=[lookup]).text(),
        "structured": lambda: model.prompt(STRUCTURED, schema=Answer, stream=False).text(),
        "40 s": lambda: model.prompt(SLOW, stream=False).text(),
    }


def main() -> int:
    """Try it; returns how many tries failed."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LLM_USER_PATH"] = folder  # read when `llm` is imported
        model = {"model_id": "sluice", "model_name": MODEL, "api_base": BASE, "api_key_name": "sluice"}
        models = [{**model, "supports_tools": True, "supports_schema": True}]
        (Path(folder) / "keys.json").write_text(json.dumps({"sluice": KEY}))
        (Path(folder) / "extra-openai-models.yaml").write_text(json.dumps(models))  # JSON is YAML
        import llm

        return tried("llm", "", tries(llm.get_model("sluice")))


if __name__ == "__main__":
    sys.exit(min(main(), 1))
