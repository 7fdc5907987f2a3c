"""SnapStart: environments that begin from one snapshot of a function that is set up are nevertheless distinct."""

import os
import subprocess
import sys

from localstack.environ import ROOT

BEGIN_TWO = """
import os
from functions.api import app
pid = os.getpid()
os.getpid = lambda: pid  # restored, an environment's process has the same
for _ in range(2):
    if os.fork() == 0:
        from functions.api.live.listener import Listener
        from shared.tasks import claims, ids
        print(claims.environment(), claims.new_owner(), ids.new_task_id(), Listener().name, flush=True)
        os._exit(0)
    os.wait()
"""


def test_environments_of_one_snapshot_have_names_of_their_own() -> None:
    as_lambda = {
        "AWS_LAMBDA_FUNCTION_NAME": "api",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "TABLE_NAME": "t",
        "QUEUE_URL_HIGH": "http://localhost/high",
        "QUEUE_URL_NORMAL": "http://localhost/normal",
        "QUEUE_URL_QUARANTINE": "http://localhost/quarantine",
        "PATH": os.environ["PATH"],
    }
    made = subprocess.run(
        [sys.executable, "-c", BEGIN_TWO], cwd=ROOT, env=as_lambda, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr[-2000:]
    one, other = (line.split() for line in made.stdout.splitlines()[-2:])
    assert len(one) == len(other) == 4
    assert not set(one) & set(other)
