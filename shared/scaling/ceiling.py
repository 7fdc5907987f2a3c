"""A ceiling on all lanes while the model provider throttles: multiplicative decrease, additive increase.

The rule is TCP's (Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance",
1989): several systems that share a provider's limit and all follow it converge to a fair share of it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """When the ceiling falls and how it rises. Shares are of the provider's calls in the last minute."""

    throttled_share: float = 0.05
    """Above this share of 429 answers the ceiling falls."""
    calm_share: float = 0.01
    """At or below this share it rises; in between it stays."""
    least_calls: int = 10
    """Fewer calls than this say nothing about throttling."""
    factor: float = 0.5
    step: int = 1
    """Environments per tick."""
    wait_s: float = 120.0
    """Between two decreases: the effect of the first must be seen, and running runs are not interrupted."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The ceiling now (environments of all lanes) and when it last fell (None: never)."""

    most: int
    cut_at: float | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """What the workers saw of the model provider in the last minute; None where it could not be read."""

    calls: int | None = None
    throttled: int | None = None
    breaker_open: bool | None = None

    @property
    def share(self) -> float | None:
        """The share of calls answered 429, None if unknown."""
        if self.calls is None or self.throttled is None:
            return None
        return self.throttled / self.calls if self.calls > 0 else 0.0


def hold(ceiling: Ceiling, *, least: int, most: int) -> Ceiling:
    """Return a ceiling as it is, within ``least`` and ``most``."""
    return Ceiling(min(max(ceiling.most, least), most), ceiling.cut_at)


def move(rule: Rule, ceiling: Ceiling, provider: Provider, *, busy: int, least: int, most: int, now: float) -> Ceiling:
    """Return the next tick's ceiling, within ``least`` and ``most``.

    The decrease starts from what is busy, not from an allowance nobody uses: halving 20 allowed environments
    of which 6 work would change nothing at the provider. Unknown throttling or an
    open breaker changes nothing.
    """
    held = hold(ceiling, least=least, most=most)
    share = provider.share
    if share is None:
        return held
    if share > rule.throttled_share and (provider.calls or 0) >= rule.least_calls:
        if held.cut_at is not None and now - held.cut_at < rule.wait_s:
            return held
        return Ceiling(max(int(min(held.most, max(busy, least)) * rule.factor), least), now)
    if share <= rule.calm_share and not provider.breaker_open:
        return Ceiling(min(held.most + rule.step, most), held.cut_at)
    return held
