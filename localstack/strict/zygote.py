"""Runs in an environment's process, by path and on the standard library alone: what `forks` starts.

``zygote.py note FILE SCRIPT`` runs MiniStack's script of an environment, and notes in ``FILE`` what the function
imported until it had worked on an event. ``zygote.py serve ----…`` imports what was noted, but nothing of Sluice's or
the project's, and then makes environments as copies of itself. It is told to through its standard input, a socket, and
ends with that.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import socket
import struct
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = {"sluice", "functions", "shared"}
"""Packages of a bundle that read settings while they are imported: each environment does that itself."""
LENGTH = struct.Struct("!I")
"""Before each message: its length."""


class Unfit(Exception):
    """No environments can be made as copies; says why."""


# ---- what a function imports


def packages(code: Path) -> set[str]:
    """Return the top modules of a bundle that installed distributions brought: never a function's own."""
    found = set()
    for record in code.glob("*.dist-info/RECORD"):
        for line in record.read_text().splitlines():
            top = line.partition(",")[0].partition("/")[0]
            if not top.endswith(".dist-info") and top not in ("..", "__pycache__"):
                found.add(top.partition(".")[0])
    return found - OWN


def imported(code: Path) -> list[tuple[str, bool]]:
    """Return the modules to import for a function that works, in its order; False: it said that there is none."""
    brought, below, found = packages(code), f"{code}{os.sep}", []
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if module is None:
            if top in brought:
                found.append((name, False))
            continue
        spec = getattr(module, "__spec__", None)
        if spec is None or spec.name != name or top == "__main__":
            continue  # a second name of another module, or made by hand
        in_bundle = top in brought and (spec.origin or "").startswith(below)
        if in_bundle or top in sys.stdlib_module_names:
            found.append((name, True))
    return found


class Noting:
    """Stands for an environment's standard input: notes what is imported when it asks for its first two events."""

    def __init__(self, file: Path) -> None:
        """Note in ``file``."""
        self._stdin, self._file, self._code, self._lines = sys.stdin, file, "", 0

    def readline(self) -> str:
        """Return the next line: first what is to be run, then one for each event."""
        if self._lines in (1, 2):
            with contextlib.suppress(Exception):  # it is of use to others alone
                self._note()
        if self._lines == 2:
            sys.stdin = self._stdin
        line = self._stdin.readline()
        if not self._lines:
            self._code = json.loads(line or "{}").get("code_dir", "")
        self._lines += 1
        return line

    def __iter__(self) -> Iterator[str]:
        """Return the lines."""
        return iter(self.readline, "")

    def __getattr__(self, name: str) -> Any:
        """Return what else an input has."""
        return getattr(self._stdin, name)

    def _note(self) -> None:
        part = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        part.write_text(json.dumps(imported(Path(self._code))))
        part.rename(self._file)


def run(script: str) -> None:
    """Run a script as if Python had been started with it."""
    sys.argv[:] = [script]
    sys.path[0] = str(Path(script).parent)
    main = types.ModuleType("__main__")
    main.__file__ = script
    sys.modules["__main__"] = main
    exec(compile(Path(script).read_text(), script, "exec"), vars(main))  # noqa: S102 - it is what we were started for


# ---- copies


def serve() -> None:
    """Import what is asked for, then make copies until nobody asks any more; a copy runs its environment here."""
    control = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    asked, _ = receive(control)
    try:
        place = _place_of_command()
        prepare(asked)
    except Exception as error:  # whatever it is: environments start without us
        send(control, {"unfit": f"{type(error).__name__}: {error}"})
        return
    send(control, {"ready": True})
    while True:
        try:
            asked, files = receive(control)
        except (EOFError, OSError):
            return
        pid = _copy()
        if pid == 0:
            os.close(control.detach())
            become(asked, files, place)
            return
        for file in files:
            os.close(file)
        send(control, {"pid": pid})


def prepare(asked: dict[str, Any]) -> None:
    """Import modules.

    Raises:
        Unfit: that left what a copy would lack or share: a thread, an open file, settings that were read.
    """
    _set_variables(asked["environment"])
    before = _open_files()
    # Nothing that is imported becomes garbage, and what is frozen is not written to by collections: copies share it.
    gc.disable()
    sys.path[0] = asked["code"]  # in the place of this file's folder; a copy has its own there
    for name, there in asked["modules"]:
        if there:
            importlib.import_module(name)
        else:
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # how Python marks what cannot be had
    if own := [name for name in sys.modules if name.partition(".")[0] in OWN]:
        raise Unfit(f"a package imports {own[0]}")
    if len(os.listdir("/proc/self/task")) > 1:
        raise Unfit("a package starts a thread when it is imported")
    if _open_files() != before:
        raise Unfit("a package opens a file when it is imported")
    gc.freeze()
    gc.enable()


def _set_variables(variables: dict[str, str]) -> None:
    coerced = {name: os.environ[name] for name in ("LC_CTYPE",) if name in os.environ}  # Python's own at its start
    os.environ.clear()
    os.environ.update(coerced | variables)


def _open_files() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the folder's own
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def _copy() -> int:
    """Return the number of a new copy, and in that 0.

    It is no child of ours: who is between us and it ends at once, and it falls to the emulator, which waits for it
    as for any environment, and finds it among its children.
    """
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            copy = os.fork()
        except OSError:
            os._exit(1)
        if copy == 0:
            return 0
        os.write(writing, b"%d" % copy)
        os._exit(0)
    os.close(writing)
    os.waitpid(between, 0)  # when it has ended, the copy is the emulator's
    told = os.read(reading, 32)
    os.close(reading)
    if not told:
        raise Unfit("no process can be made")
    return int(told)


def become(asked: dict[str, Any], files: list[int], place: tuple[int, int]) -> None:
    """Make this copy the environment that was asked for, and run it."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _set_variables(asked["environment"])
    os.chdir(asked["folder"])
    _set_command(place, [sys.executable, asked["script"]])
    run(asked["script"])


def _place_of_command() -> tuple[int, int]:
    """Return where this process's command line is in memory, and how long it is."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    if not 0 < start < end:
        raise Unfit("the place of the command line is not told")
    return start, end - start


def _set_command(place: tuple[int, int], command: list[str]) -> None:
    """Have the process listed under another command, so that who looks for environments finds it."""
    import ctypes

    start, room = place
    text = b"\0".join(os.fsencode(part) for part in command)[: room - 1]
    ctypes.memset(start, 0, room)
    ctypes.memmove(start, text, len(text))


# ---- messages


def send(link: socket.socket, message: dict[str, Any], files: list[int] | None = None) -> None:
    """Send a message, and open files with it."""
    body = json.dumps(message).encode()
    socket.send_fds(link, [LENGTH.pack(len(body))], files or [])
    link.sendall(body)


def receive(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return a message and the files that came with it.

    Raises:
        EOFError: nobody is there any more.
    """
    head, files, _, _ = socket.recv_fds(link, LENGTH.size, 3)
    if len(head) < LENGTH.size:
        raise EOFError("the other side is gone")
    left, parts = LENGTH.unpack(head)[0], []
    while left:
        part = link.recv(left)
        if not part:
            raise EOFError("the other side is gone")
        parts.append(part)
        left -= len(part)
    message: dict[str, Any] = json.loads(b"".join(parts))
    return message, list(files)


if __name__ == "__main__":
    if sys.argv[1] == "note":
        sys.stdin = Noting(Path(sys.argv[2]))
        run(sys.argv[3])
    else:
        serve()
