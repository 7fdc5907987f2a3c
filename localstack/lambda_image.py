"""A stand-in for Lambda's Python base image, made of this machine's own files where the public one cannot be pulled.

It has the base image's layout (Python in /var/lang, the runtime client in /var/runtime, the emulator, the entry point)
and what SAM's build step and compiled wheels need: a shell, a few tools, the C and C++ libraries. It is no Amazon
Linux: what depends on that shows on AWS only. Nothing is downloaded, and nothing but a Docker engine is needed.

    python -m localstack.lambda_image          (builds it, whether or not there is one)
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from localstack.emulator import RUNTIME_PYTHON, binary
from localstack.environ import LocalError, architecture

VERSION = "3.13"
REPOSITORY = "public.ecr.aws/lambda/python"
STAND_IN = "sluice.stand-in"
"""Label of an image that was made here."""

TOOLS = ("sh", "mv", "cp", "rm", "mkdir", "chmod", "cat", "ls", "env")
LIBRARIES = re.compile(r"lib(c|m|dl|rt|pthread|util|resolv|nss_dns|nss_files|gcc_s|stdc\+\+|z)\.so\.\d+")
"""What wheels for manylinux may rely on."""
LEFT_OUT = ("site-packages", "dist-packages", "test", "idlelib", "ensurepip", "turtledemo", "tkinter")

BOOTSTRAP = f"""#!/bin/sh
export AWS_EXECUTION_ENV=AWS_Lambda_python{VERSION}
export PYTHONPATH=/var/task:/opt/python:/var/runtime${{PYTHONPATH:+:$PYTHONPATH}}
exec $AWS_LAMBDA_EXEC_WRAPPER /var/lang/bin/python{VERSION} -m awslambdaric "$_HANDLER"
"""
ENTRYPOINT = """#!/bin/sh
if [ $# -ne 1 ]; then echo "the handler must be the only argument" >&2; exit 142; fi
export _HANDLER="$1"
[ -n "$AWS_LAMBDA_RUNTIME_API" ] || set -- /usr/local/bin/aws-lambda-rie /var/runtime/bootstrap
[ -z "$AWS_LAMBDA_RUNTIME_API" ] || set -- /var/runtime/bootstrap
exec "$@"
"""
FILES = {
    "var/runtime/bootstrap": (BOOTSTRAP, 0o755),
    "lambda-entrypoint.sh": (ENTRYPOINT, 0o755),
    "etc/passwd": ("root:x:0:0:root:/root:/bin/sh\nsbx_user1051:x:993:990::/:/bin/sh\n", 0o644),
    "etc/group": ("root:x:0:\n", 0o644),
    "etc/nsswitch.conf": ("hosts: files dns\n", 0o644),
}
FOLDERS = ("var/task", "opt", "tmp", "proc", "sys", "dev", "root")
SETTINGS = (
    "ENV LANG=en_US.UTF-8 TZ=:/etc/localtime LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime"
    " PATH=/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin"
    " LD_LIBRARY_PATH=/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    "WORKDIR /var/task",
    'ENTRYPOINT ["/lambda-entrypoint.sh"]',
    f"LABEL {STAND_IN}=true",
)


def image() -> str:
    """Return the name under which SAM looks for this machine's base image."""
    return f"{REPOSITORY}:{VERSION}-{architecture()}"


def build() -> None:
    """Make the image and name it as SAM wants it.

    Raises:
        LocalError: this system cannot, or the engine refused.
    """
    if sys.platform != "linux" or f"{sys.version_info[0]}.{sys.version_info[1]}" != VERSION:
        raise LocalError(f"a stand-in is made of Linux files and Python {VERSION}; this is {sys.platform}")
    changes = [word for setting in SETTINGS for word in ("--change", setting)]
    command = ["docker", "import", *changes, "-", image()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as engine:
        assert engine.stdin is not None and engine.stdout is not None  # noqa: S101, PT018 - for the type checker
        try:
            with tarfile.open(fileobj=engine.stdin, mode="w|") as tar:
                _Root(tar).fill()
            engine.stdin.close()
        except BrokenPipeError:
            pass  # the engine says why
        told = engine.stdout.read().decode(errors="replace")
    if engine.returncode:
        raise LocalError(f"the Docker engine did not take the image: {told}")
    # SAM keeps a layer over the image of before, and would go on with it.
    layered = image().replace(f"{VERSION}-", f"{VERSION}-rapid-")
    subprocess.run(["docker", "rmi", "--force", layered], capture_output=True, check=False)


class _Root:
    """The image's file system, as it is written."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._there: set[str] = set()

    def fill(self) -> None:
        for name in ("bin", "sbin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            self._tar.addfile(link)
        for name in FOLDERS:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            self._tar.addfile(folder)
        programs = self._python() + [self._tool(name) for name in TOOLS]
        for library in sorted({path for program in programs for path in _needed(program)} | _common()):
            self._library(library)
        self._file(binary(), "usr/local/bin/aws-lambda-rie", mode=0o755)
        certificates = Path("/etc/ssl/certs/ca-certificates.crt")
        if certificates.exists():
            self._file(certificates, "etc/ssl/certs/ca-certificates.crt")
        for name, (text, mode) in FILES.items():
            self._add(tarfile.TarInfo(name), text.encode(), mode)

    def _python(self) -> list[Path]:
        """Add the interpreter, its library and the runtime client; returns what is linked to libraries."""
        interpreter = Path(sys.executable).resolve()
        self._file(interpreter, f"var/lang/bin/python{VERSION}", mode=0o755)
        library = Path(sysconfig.get_path("stdlib"))
        client = next(RUNTIME_PYTHON.parent.parent.glob("lib/python3*/site-packages"))
        linked = [interpreter]
        for source, target in ((library, f"var/lang/lib/python{VERSION}"), (client, "var/runtime")):
            for path in sorted(source.rglob("*")):
                inside = path.relative_to(source)
                if not path.is_file() or inside.parts[0] in LEFT_OUT or inside.parts[0].startswith("config-"):
                    continue
                self._file(path, f"{target}/{inside}")
                if path.suffix == ".so":
                    linked.append(path)
        return linked

    def _tool(self, name: str) -> Path:
        found = shutil.which(name, path="/usr/bin:/bin")
        if found is None:
            raise LocalError(f"this system has no {name}")
        self._file(Path(found), f"usr/bin/{name}", mode=0o755)
        return Path(found)

    def _library(self, path: Path) -> None:
        if path.is_relative_to(sys.base_prefix) and not path.is_relative_to("/usr/lib"):
            self._file(path, f"var/lang/lib/{path.name}")
            return
        name = str(path).lstrip("/")
        self._file(path, name if name.startswith("usr/") else f"usr/{name}", mode=0o755)

    def _file(self, source: Path, name: str, *, mode: int | None = None) -> None:
        info = tarfile.TarInfo(name)
        about = source.stat()
        info.mtime = int(about.st_mtime)  # bytecode is valid for it
        self._add(info, source.read_bytes(), about.st_mode & 0o755 if mode is None else mode)

    def _add(self, info: tarfile.TarInfo, data: bytes, mode: int) -> None:
        if info.name in self._there:
            return
        self._there.add(info.name)
        info.size, info.mode = len(data), mode
        self._tar.addfile(info, io.BytesIO(data))


def _needed(program: Path) -> set[Path]:
    """Return the libraries that a program or a library is linked to, and the loader."""
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return {Path(path) for path in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", told, re.M)}


def _common() -> set[Path]:
    """Return the libraries that nothing here is linked to, but a wheel may be."""
    told = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    ours = "x86-64" if architecture() == "x86_64" else "AArch64"
    listed = re.findall(r"^\s*(\S+) \(([^)]*)\) => (\S+)$", told, re.M)
    return {Path(path) for name, kind, path in listed if ours in kind and LIBRARIES.fullmatch(name)}


def main() -> int:
    """Build from the command line."""
    try:
        build()
    except (LocalError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"built {image()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
