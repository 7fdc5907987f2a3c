"""The real `aws` command, loaded once: a block of the runbook calls it ten times, and each start costs half a second.

``python aws_command.py serve SOCKET`` in the command's own environment loads it and waits. ``python aws_command.py call
SOCKET ARGUMENT …`` hands over its arguments and its open files; a fork of the server does the work with them. The keys
are those of the server's environment.
"""

from __future__ import annotations

import _socket
import os
import sys

FILES = 3
FIRST_CALLS = {
    "cloudformation": "describe-stacks", "cloudwatch": "list-metrics", "events": "list-rules",
    "lambda": "list-functions", "logs": "describe-log-groups", "sqs": "list-queues",
}  # fmt: skip
REFUSED = "http://127.0.0.1:9"
"""Where nobody answers."""


def serve(path: str) -> None:
    import contextlib
    import socket
    from ast import literal_eval

    from awscli.clidriver import create_clidriver  # type: ignore[import-not-found,unused-ignore]

    command = create_clidriver()
    # Each service is called once, and none is reached: what a call loads, 0.1 s of a processor, its forks then have.
    os.environ["AWS_MAX_ATTEMPTS"] = "1"
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        for service, operation in FIRST_CALLS.items():
            command.main(["--endpoint-url", REFUSED, service, operation])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(16)
        print("ready", flush=True)
        while True:
            caller, _ = server.accept()
            if os.fork():
                caller.close()
                while _reaped():
                    pass
                continue
            server.close()
            text, files, _, _ = socket.recv_fds(caller, 1_000_000, FILES)
            arguments, folder, environment = literal_eval(text.decode())
            for number, file in enumerate(files):
                os.dup2(file, number)
            os.chdir(folder)
            data = os.environ["AWS_DATA_PATH"]  # set by awscli itself, when it is loaded
            os.environ.clear()
            os.environ.update(environment, AWS_DATA_PATH=data)
            code = command.main(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            caller.send(bytes([code]))
            os._exit(0)


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def call(path: str, arguments: list[str]) -> int:
    """Without the modules `socket` and `json`, which would take as long to load as the interpreter itself."""
    server = _socket.socket(_socket.AF_UNIX)
    server.connect(path)
    asked = repr((arguments, os.getcwd(), dict(os.environ))).encode()
    files = b"".join(number.to_bytes(4, sys.byteorder) for number in range(FILES))
    server.sendmsg([asked], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
    answer = server.recv(1)
    return answer[0] if answer else 255


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(call(sys.argv[2], sys.argv[3:]))
