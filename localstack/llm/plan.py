"""Deciding what one call will do: its key, its fault, its timing."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from localstack.llm import directives, faults, models
from localstack.llm.directives import DirectiveError, Directives
from localstack.llm.faults import invalid
from localstack.llm.messages import Message
from localstack.llm.models import Model
from localstack.llm.request import ChatRequest
from localstack.llm.state import KeyCount, State
from localstack.llm.tokens import text_of


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call will do. Times are seconds since the request arrived."""

    wish: Directives
    model: Model
    key: str
    fingerprint: str
    latency: float
    ttft: float
    words: int
    hang: float


def fingerprint(messages: Sequence[Message]) -> str:
    """16 hex digits that stand for a conversation."""
    text = json.dumps(messages, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def make(state: State, request: ChatRequest) -> Plan:
    """Plans a call by its directives, then its model's name, then the configuration.

    Raises:
        ApiError: 400 for a directive that cannot be understood, 404 for an unknown ``sim-`` model.
    """
    config = state.config
    last = request.last_user()
    text = text_of(request.messages[last].get("content")) if last >= 0 else ""
    try:
        wish = directives.parse(text)
    except DirectiveError as error:
        raise invalid(f"Simulator: {error}", "messages", "invalid_directive") from None
    model = models.find(request.model)
    print_ = fingerprint(request.messages)
    key = wish.key or f"#{print_}"
    low, high = wish.latency or model.latency or config.latency
    latency = low if low == high else low + (high - low) * faults.chance(config.seed, "latency", key, print_)
    if wish.quick and state.key_count(key).started < wish.quick:
        latency = 0
    ttft = next((t for t in (wish.ttft, model.ttft, config.ttft) if t is not None), latency / 4)
    return Plan(
        wish=wish,
        model=model,
        key=key,
        fingerprint=print_,
        latency=latency,
        ttft=min(ttft, latency),
        words=model.words or config.words,
        hang=config.hang if wish.hang is None else wish.hang,
    )


def choose_fault(state: State, plan: Plan, model_name: str, count: KeyCount) -> str | None:
    """The fault that this call meets, if any: outage, else directive, else model name, else chance."""
    config = state.config
    if config.is_out(model_name):
        return config.outage_fault
    wish = plan.wish
    if wish.fail:
        turn = count.turns - wish.skip
        count.turns += 1
        if turn < 0 or (wish.times is not None and turn >= wish.times):
            return None
        name = wish.fail[turn % len(wish.fail)]
        return None if name == "none" else name
    seeds = (config.seed, plan.key, plan.fingerprint, count.started)
    return faults.draw(plan.model.faults, plan.model.fault_rate, "model", *seeds) or faults.draw(
        config.faults, config.fault_rate, "random", *seeds
    )


def retry_headers(state: State, plan: Plan, status: int) -> dict[str, str]:
    """``Retry-After`` of a refusal: the directive's, or for 429 and 5xx the model's, the configuration's."""
    after = plan.wish.retry_after
    if after is None and plan.wish.retry_after_ms is None and (status == 429 or status >= 500):
        after = state.config.retry_after if plan.model.retry_after is None else plan.model.retry_after
    return faults.retry_headers(after, plan.wish.retry_after_ms)
