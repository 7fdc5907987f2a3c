"""Runs the simulator: ``python -m localstack.llm --host 127.0.0.1 --port 8090``."""

import argparse
import contextlib
from typing import Any

from localstack.llm.config import Config, ConfigError
from localstack.llm.server import run
from localstack.llm.state import State


def main() -> None:
    """Reads the command line and serves until stopped."""
    parser = argparse.ArgumentParser(prog="python -m localstack.llm", description="OpenAI-compatible model simulator")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one, printed)")
    parser.add_argument("--latency", help="seconds a reply takes, or LO-HI (default: 0.2)")
    parser.add_argument("--ttft", help="seconds to the first token (default: a quarter of the latency)")
    parser.add_argument("--words", help="words of a reply (default: 24)")
    parser.add_argument("--seed", help="seed of random faults and latencies (default: 0)")
    parser.add_argument("--log-size", type=int, default=200_000, help="calls kept in the log (default: 200000)")
    given = vars(parser.parse_args())
    settings: dict[str, Any] = {
        name: given[name] for name in ("latency", "ttft", "words", "seed") if given[name] is not None
    }
    try:
        config = Config().changed(settings)
    except ConfigError as error:
        parser.error(str(error))
    # Uvicorn raises the signal that stopped it once more.
    with contextlib.suppress(KeyboardInterrupt):
        run(State(config, log_size=max(given["log_size"], 1)), given["host"], given["port"])


if __name__ == "__main__":
    main()
