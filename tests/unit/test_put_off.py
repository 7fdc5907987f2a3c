"""A package that is put off gives its parts without running, and runs for what only it has."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.put_off import put_off

INIT = """
with open(__file__ + ".ran", "a") as told:
    told.write("x")
from {name} import part
from {name}.other import Thing
own = (part.VALUE, Thing)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    name = f"lazy_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(INIT.format(name=name))
    (folder / "part.py").write_text("VALUE = 3\n")
    (folder / "other.py").write_text(f"from {name} import part\nclass Thing:\n    value = part.VALUE\n")
    (folder / "broken.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    put_off(name)
    return folder


def ran(package: Path) -> int:
    told = package / "__init__.py.ran"
    return len(told.read_text()) if told.exists() else 0


def load(statement: str, package: Path) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(statement.replace("LAZY", package.name), names)
    return names


def test_parts_come_without_it(package: Path) -> None:
    found = load("from LAZY.other import Thing\nfrom LAZY import part\nimport LAZY as it", package)
    assert found["part"].VALUE == found["Thing"].value == 3  # type: ignore[attr-defined]
    assert ran(package) == 0


def test_what_only_it_has_runs_it_once(package: Path) -> None:
    found = load("from LAZY.part import VALUE\nfrom LAZY import own\nimport LAZY as it\nagain = it.own", package)
    assert found["own"] == found["again"] == (3, found["it"].Thing)  # type: ignore[attr-defined]
    assert ran(package) == 1


def test_what_it_lacks_is_an_ordinary_error(package: Path) -> None:
    with pytest.raises(ImportError, match="nothing"):
        load("from LAZY import nothing", package)
    with pytest.raises(AttributeError, match="nothing"):
        load("import LAZY as it\nit.nothing", package)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        load("from LAZY import broken", package)
    assert ran(package) == 1


def test_one_that_fails_fails_each_time(package: Path) -> None:
    (package / "__init__.py").write_text((package / "__init__.py").read_text() + "raise ValueError('half')\n")
    for _ in range(2):
        with pytest.raises(ValueError, match="half"):
            load("from LAZY import absent", package)
    assert ran(package) == 2


@pytest.mark.parametrize("statement", ["import redis; redis.RedisCluster", "from redis import asyncio; asyncio.Redis"])
def test_a_functions_redis_has_all_that_redis_has(statement: str) -> None:
    code = f"import shared.valkey, sys; assert 'redis.cluster' not in sys.modules; {statement}"
    environment = {"AWS_LAMBDA_FUNCTION_NAME": "api", "AWS_DEFAULT_REGION": "us-east-1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
