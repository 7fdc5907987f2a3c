"""Starts MiniStack behind the strict front: ``python localstack/strict/serve.py``, on MiniStack's own interpreter.

By path, not as a module: functions inherit the environment, and must find nothing of this checkout in it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

KEEP_ALIVE_S = 75
"""How long a connection stays that nobody uses."""


def main() -> None:
    """Serve until told to stop."""
    tree = Path(__file__).absolute().parents[2]
    sys.path[0] = str(tree.parents[1] if tree.name == "_system" else tree)  # as in the wheel
    import uvicorn
    from ministack import app as emulator
    from ministack.core import iam_evaluator, lambda_runtime
    from ministack.services import dynamodb, lambda_svc

    from localstack.strict.forks import fork
    from localstack.strict.front import Front
    from localstack.strict.functions import Functions
    from localstack.strict.quick import quicken, quicken_policies
    from localstack.strict.report import Report
    from localstack.strict.sqs import Queues
    from localstack.strict.unpack import share

    share(lambda_runtime)
    fork(lambda_runtime)
    quicken(dynamodb)
    quicken_policies(iam_evaluator)
    quota = int(os.environ["LAMBDA_ACCOUNT_CONCURRENCY"])
    report, queues = Report(), Queues()
    functions = Functions(lambda_svc, lambda_runtime, report, queues, quota=quota)
    front: Any = Front(emulator.app, report, queues, functions)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _raise_file_limit()
    # A fifth of the processor time for a request that MiniStack's own server takes, hypercorn with h11.
    uvicorn.run(
        front,
        host=os.environ["BIND_HOST"],
        port=int(os.environ["GATEWAY_PORT"]),
        loop="uvloop",
        http="httptools",
        ws="wsproto",
        log_level=os.environ.get("LOG_LEVEL", "info").lower(),
        access_log=False,
        proxy_headers=False,  # a client's own word about its address is none: AWS's front looks at the connection
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=0,
    )


def _raise_file_limit() -> None:
    """Take as many open files as allowed: bursts of connections need them."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
