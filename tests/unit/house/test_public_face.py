"""What `from sluice import …` gives: all that an agent needs, and nothing loaded beside it."""

import inspect
import subprocess
import sys

import sluice
from functions.worker.run.context import Context
from localstack.environ import ROOT
from shared import errors, retry

INNER = {"give_way", "check_time", "steps", "waits", "usage_details"}
"""Members of the worker's context that agents have no business with."""


def public(kind: type) -> set[str]:
    return {name for base in kind.__mro__ for name in vars(base) if not name.startswith("_")}


def test_everything_of_a_run_stands_in_the_public_context() -> None:
    given = set(inspect.get_annotations(sluice.Context)) | public(sluice.Context)
    code = Context.__init__.__code__
    assigned = {name for name in code.co_names if f"self.{name}" in inspect.getsource(Context.__init__)}
    own = {name for name in public(Context) | assigned if not name.startswith("_")}
    assert own - given - INNER == set()


def test_methods_take_the_same_words_inside_and_outside() -> None:
    for name in ("step", "tool", "model", "sleep", "wait", "emit", "history", "asked"):
        inside, outside = (inspect.signature(getattr(kind, name)) for kind in (Context, sluice.Context))
        assert list(inside.parameters) == list(outside.parameters), name


def test_importing_it_loads_nothing_else() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules); import sluice\n"
        "new = set(sys.modules) - before\n"
        "print(*sorted(name for name in new if name.partition('.')[0] not in sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["sluice", "sluice.context", "sluice.errors", "sluice.types"]


def test_an_agent_catches_what_the_worker_raises() -> None:
    assert issubclass(retry.ModelError, sluice.ModelError)
    assert errors.TooLarge is sluice.TooLarge
    assert errors.BudgetExhausted is sluice.BudgetExhausted
    assert issubclass(errors.Conflict, sluice.SluiceError)


def test_all_that_is_promised_is_there() -> None:
    assert [name for name in sluice.__all__ if not hasattr(sluice, name)] == []
