"""Environments of one function are copies of a process that has imported its packages: a start takes less.

Most of a start is the import of packages, botocore and pydantic and others, and that is the same each time. So the
first environment of a function starts as MiniStack starts it, and it is noted what it imported. With the second comes a
process that imports the packages among that (`zygote`); the second and later ones are its copies. Sluice's own modules
and an agent's are imported in each environment anew: they read settings, make clients and may start threads.

A process serves environments of the same code and the same variables only, so a package that reads variables
finds the right ones. Whatever goes wrong with it, environments start as MiniStack starts them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import subprocess
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from localstack.strict import zygote
from localstack.strict.adopted import Environment, adoption

SWITCH = "LOCAL_FORKED_STARTS"
"""The variable that leaves all this out where it is ``false``."""
SERVERS = 8
"""Functions, with their variables, for which such a process is kept: the one least used gives way."""
IMPORT_S = 60.0
"""How long it may import."""
COPY_S = 15.0
"""How long it may take to make an environment."""
COMMAND_ROOM = 400
"""Bytes of its command line, which a copy's takes the place of."""
OF_ONE = {"AWS_LAMBDA_LOG_STREAM_NAME", "LAMBDA_TASK_ROOT"}
"""Variables that each environment has of its own, and that no package reads."""

_log = logging.getLogger("forks")


def fork(runtime: Any) -> Forks | None:
    """Have MiniStack's module for environments, ``runtime``, start them through `Forks`; None: it cannot be here.

    Raises:
        RuntimeError: it is of a version that this code does not know.
    """
    if getattr(runtime, "subprocess", None) is not subprocess:
        raise RuntimeError("this MiniStack starts environments otherwise: the strict front does not fit it")
    if os.environ.get(SWITCH, "").lower() == "false" or not adoption.possible():
        return None
    runtime.subprocess = forks = Forks()
    return forks


class Forks:
    """Stands for the module `subprocess`."""

    def __init__(self) -> None:
        """Know of no function yet."""
        self._lock = threading.Lock()
        self._sources: OrderedDict[str, Source] = OrderedDict()

    def __getattr__(self, name: str) -> Any:
        """Return what else the module has."""
        return getattr(subprocess, name)

    def Popen(self, command: list[str], **options: Any) -> Any:
        """Start a process: an environment in Python by way of its `Source`, all else as ever."""
        environment = options.get("env")
        if (
            Path(command[-1]).name != "_worker.py"
            or len(command) != 2
            or not environment
            or environment.get("_LAMBDA_LAYERS_DIRS")  # their places are of one environment
            or set(options) != {"cwd", "stdin", "stdout", "stderr", "text", "bufsize", "env"}
        ):
            return subprocess.Popen(command, **options)
        source = self._source(Path(options["cwd"]).resolve(), environment)
        made = source.copy(command, options["cwd"], environment)
        if made is not None:
            return made
        return subprocess.Popen(source.noting(command), **options)

    def _source(self, code: Path, environment: dict[str, str]) -> Source:
        same = sorted((name, value) for name, value in environment.items() if name not in OF_ONE)
        key = hashlib.sha256(json.dumps([str(code), same]).encode()).hexdigest()
        with self._lock:
            source = self._sources.setdefault(key, Source(key, code))
            self._sources.move_to_end(key)
            old = [self._sources.popitem(last=False)[1] for _ in range(len(self._sources) - SERVERS)]
        for one in old:
            one.close()
        return source

    def close(self) -> None:
        """End all that makes environments; those that it made go on."""
        with self._lock:
            old, self._sources = list(self._sources.values()), OrderedDict()
        for one in old:
            one.close()


class Source:
    """Where environments of a function come from."""

    def __init__(self, key: str, code: Path) -> None:
        """Know where the function's files are; nothing is started."""
        self._code = code
        self._noted = Path(tempfile.gettempdir()) / f"imports-{key[:32]}.json"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._given_up = False

    def noting(self, command: list[str]) -> list[str]:
        """Return the command that starts an environment and notes what it imports, if that is still to be known."""
        if self._given_up or self._noted.exists():
            return command
        return [command[0], zygote.__file__, "note", str(self._noted), command[-1]]

    def copy(self, command: list[str], folder: str, environment: dict[str, str]) -> Environment | None:
        """Return a new environment; None: there is none to be had this way."""
        with self._lock:
            if self._given_up or not self._noted.exists():
                return None
            try:
                link = self._link or self._begin(command[0], environment)
                return self._ask(link, command[-1], folder, environment)
            except Exception as error:  # whatever it is: it starts the other way
                self._give_up(f"{type(error).__name__}: {error}")
                return None

    def _begin(self, python: str, environment: dict[str, str]) -> socket.socket:
        modules = json.loads(self._noted.read_text())
        self._link, theirs = socket.socketpair()
        self._link.settimeout(IMPORT_S)
        with theirs:
            self._process = subprocess.Popen(
                [python, zygote.__file__, "serve", "-" * COMMAND_ROOM],
                cwd=tempfile.gettempdir(),
                # Who looks for environments by what a process was started with must not find this one.
                env={name: value for name, value in environment.items() if not name.startswith("AWS_LAMBDA_")},
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
            )
        zygote.send(self._link, {"environment": environment, "code": str(self._code), "modules": modules})
        answer, _ = zygote.receive(self._link)
        if "ready" not in answer:
            raise zygote.Unfit(answer.get("unfit"))
        return self._link

    def _ask(self, link: socket.socket, script: str, folder: str, environment: dict[str, str]) -> Environment:
        link.settimeout(COPY_S)
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
        try:
            with adoption:
                zygote.send(link, {"script": script, "folder": folder, "environment": environment}, theirs)
                answer, _ = zygote.receive(link)
            return Environment(answer["pid"], ours, self.did_not_start)
        except BaseException:
            for file in ours:
                os.close(file)
            raise
        finally:
            for file in theirs:
                os.close(file)

    def did_not_start(self) -> None:
        """Make no more copies: one ended before its function was there."""
        threading.Thread(target=self.close, daemon=True).start()  # whoever reads its output does not wait for that

    def _give_up(self, why: str) -> None:
        _log.warning("environments of %s are started one by one: %s", self._code.name[:12], why)
        self._given_up = True
        self._noted.unlink(missing_ok=True)  # it may be the list that is wrong
        self._end()

    def close(self) -> None:
        """Make no more copies."""
        with self._lock:
            self._given_up = True
            self._end()

    def _end(self) -> None:
        if self._link is not None:
            self._link.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._link = self._process = None
