"""Which day a run's money belongs to: the one in which each call is made, though a run may last over midnight.

``task.day`` is the UTC day of its newest call (of its submission, before the first). What calls of earlier days used
stands in ``task.past``; the rest of its use is that day's. A reservation is of ``task.day`` alone.
"""

from collections.abc import Mapping
from typing import Any

from shared import clock
from shared.tasks.model import Task, Usage

OWN = "own key: "
"""How the names of models begin, in what a run used, that its user's own provider bills at their own price. It is part
of what the run cost, and of no ceiling of a day: that money is not the deployment's. No model can be called so."""


def own(model: str) -> str:
    """Return what use of a model is counted under that its user pays for themselves."""
    return OWN + model


def paid_by_user(models: Mapping[str, tuple[int, int]]) -> int:
    """Return how much of use by models, micro-USD, their own providers bill its user."""
    return sum(used[1] for model, used in models.items() if model.startswith(OWN))


def _paid_by_user(task: Task, day: str) -> int:
    return paid_by_user(task.by_model.get(day, {}))


def begin(task: Task, day: str) -> bool:
    """Note that a call is about to be made on a day; returns whether it is a new one, on which nothing is reserved.

    A clock that is behind another's makes no earlier day.
    """
    if day <= task.day:
        return False
    tokens, micro_usd = of_newest(task)
    if tokens or micro_usd:
        task.past = task.past | {task.day: [tokens, micro_usd]}
    task.day = day
    task.reserved_tokens = task.reserved_micro_usd = 0
    return True


def of_newest(task: Task) -> tuple[int, int]:
    """Return the tokens and micro-USD that a task has used on ``task.day``."""
    tokens = task.usage.tokens - sum(used[0] for used in task.past.values())
    return tokens, task.micro_usd - sum(used[1] for used in task.past.values())


def uncounted(task: Task) -> tuple[int, int]:
    """Return what it has used on ``task.day`` and was not charged with yet, as it is whenever it comes to wait.

    What its user pays for themselves is left out: this is what ceilings are held against.
    """
    tokens, micro_usd = billed(task)[task.day]
    tokens_before, micro_usd_before = charged(task)
    return tokens - tokens_before, micro_usd - micro_usd_before


def by_model(task: Task) -> dict[str, dict[str, tuple[int, int]]]:
    """Return what it has used on each day, tokens and micro-USD, by the models that were asked."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for day, (tokens, micro_usd) in by_day(task).items():
        others = {model: (used[0], used[1]) for model, used in task.by_model.get(day, {}).items()}
        tokens -= sum(used[0] for used in others.values())
        micro_usd -= sum(used[1] for used in others.values())
        found[day] = ({task.model: (tokens, micro_usd)} if tokens or micro_usd or not others else {}) | others
    return found


def charge_of(task: Task) -> dict[str, Any]:
    """Return what ``task.charged`` is to say once all of its use is charged."""
    models = by_model(task)
    return {day: [*used, models[day]] for day, used in by_day(task).items()}


def charged_by_model(task: Task, day: str) -> dict[str, tuple[int, int]]:
    """Return what of a day it was charged with by models, as far as that is known; an estimate is of no model."""
    found = task.charged.get(day, ())
    if len(found) > 2:
        return {model: (used[0], used[1]) for model, used in found[2].items()}
    return {task.model: (found[0], found[1])} if found else {}


def charged(task: Task, day: str = "") -> tuple[int, int]:
    """Return what of a day's ceilings, of ``task.day`` if none is named, it took up when it last came to wait."""
    found = task.charged.get(day or task.day, (0, 0))
    return found[0], found[1] - paid_by_user(found[2] if len(found) > 2 else {})


def reserved(task: Task) -> tuple[int, int]:
    """Return what it holds reserved besides what it was charged with."""
    tokens, micro_usd = charged(task)
    return max(0, task.reserved_tokens - tokens), max(0, task.reserved_micro_usd - micro_usd)


def count(task: Task, use: Usage) -> None:
    """Charge a task for a call, on the day on which it was made."""
    task.input_tokens += use.input_tokens
    task.output_tokens += use.output_tokens
    task.micro_usd += use.micro_usd
    task.past = _past(task, use)
    task.by_model = _by_model(task, use)


def _by_model(task: Task, use: Usage | None) -> dict[str, Any]:
    if use is None or use.model in ("", task.model):
        return task.by_model
    day = use.day or task.day
    of_day = task.by_model.get(day, {})
    tokens, micro_usd = of_day.get(use.model, (0, 0))
    return task.by_model | {day: of_day | {use.model: [tokens + use.tokens, micro_usd + use.micro_usd]}}


def _past(task: Task, use: Usage | None) -> dict[str, Any]:
    if use is None or not use.day or use.day >= task.day:
        return task.past
    tokens, micro_usd = task.past.get(use.day, (0, 0))
    return task.past | {use.day: [tokens + use.tokens, micro_usd + use.micro_usd]}


def by_day(task: Task) -> dict[str, tuple[int, int]]:
    """Return what a task has used on each day, tokens and micro-USD."""
    return {day: (used[0], used[1]) for day, used in task.past.items()} | {task.day: of_newest(task)}


def billed(task: Task) -> dict[str, tuple[int, int]]:
    """Return the same without what its user pays for themselves: what a day's ceilings are held against."""
    return {day: (tokens, money - _paid_by_user(task, day)) for day, (tokens, money) in by_day(task).items()}


def submitted(task: Task) -> str:
    """Return the day of its submission, on which its estimate may have been charged ahead."""
    return clock.day(task.created)


def used(task: Task, use: Usage | None = None) -> dict[str, Any]:
    """Return what its row is to say of its use, ``use`` counted in. This worker, which alone writes it, knows all."""
    tokens_in, tokens_out = task.input_tokens, task.output_tokens
    micro_usd = task.micro_usd
    if use is not None:
        tokens_in, tokens_out = tokens_in + use.input_tokens, tokens_out + use.output_tokens
        micro_usd += use.micro_usd
    found: dict[str, Any] = {"input_tokens": tokens_in, "output_tokens": tokens_out, "micro_usd": micro_usd}
    if task.day != submitted(task):
        found["day"] = task.day
    if past := _past(task, use):
        found["past"] = past
    if models := _by_model(task, use):
        found["by_model"] = models
    return found
