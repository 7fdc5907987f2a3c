"""What a simulation is given: the users, their load, a run's shape, the platform's figures and the owner's settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from shared.scaling.profiles import Config
from shared.settings import read


@dataclass(frozen=True, slots=True)
class Tier:
    """A kind of user: share of the runs, share of the users, lane, and most tasks at once (0: no cap)."""

    name: str
    runs: float
    users: float
    lane: str
    running: int


@dataclass(frozen=True, slots=True)
class RunShape:
    """A run: so many model calls on average (one at least), each so long (log-normal), with so many tokens."""

    calls: float = 3.0
    call_s: float = 12.0
    call_spread: float = 0.6
    """Standard deviation of the logarithm of a call's seconds; 0: all equal."""
    prompt_tokens: int = 1200
    output_tokens: int = 350
    overhead_s: float = 0.15
    """Claim, history, checkpoints and settle together."""
    long_share: float = 0.0
    """Part of the runs that make ``long_factor`` times as many calls."""
    long_factor: float = 10.0
    call_fails: float = 0.005
    """Chance that a call ends in a 5xx or a timeout: the step is retried after a delay."""
    model: str = "gpt-4o-mini"


@dataclass(frozen=True, slots=True)
class Platform:
    """Lambda and SQS. The ramp is AWS's (docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).

    ``accept_s``, ``gather_s`` and ``cold_s`` are this project's local measurements' order of magnitude; the
    validation measures its own.
    """

    first_pollers: int = 5
    """Concurrent batches that a mapping starts with."""
    pollers_per_minute: float = 300.0
    most_pollers: int = 1250
    batch: int = 10
    slots: int = 50
    """``RunsPerEnvironment``."""
    refill_s: float = 60.0
    """``RefillSeconds``: for so long an invocation takes more into slots that come free; 0: never."""
    look_s: float = 0.5
    """How often an invocation looks whether a task waits that nobody takes (``worker/lane/share.py``); 0: never."""
    grace_s: float = 0.25
    """After how long such a task counts as taken by nobody (``shared/limits/lane.py``)."""
    last_s: float = 67.0
    """An invocation takes nothing when less than this of ``slice_s`` is left: ``ModelTimeoutSeconds`` and ten seconds,
    less the worker's margin."""
    spread_s: float = 300.0
    """So much earlier at most does one stop, drawn evenly, that those which began together do not stop together."""
    gather_s: float = 0.05
    """From a message being visible to its batch being handed over; what arrives meanwhile goes along."""
    claim_s: float = 0.1
    """From a batch being handed over to its runs being claimed, which is when they count as started."""
    receive_s: float = 0.02
    """What an invocation's own receive takes when it asks for more."""
    cold_s: float = 2.5
    """Start of a new environment: imports of the worker's bundle."""
    keep_warm_s: float = 420.0
    """How long Lambda keeps an idle environment (not documented; 5 to 15 minutes are reported)."""
    slice_s: float = 897.0
    """A run that lasts longer goes on in another invocation: the function's timeout less the worker's margin."""
    neighbour_s: float = 0.0
    """What every other run of a batch adds to a run's time: 0 on AWS, where model calls are waited for; measured on a
    laptop, where all functions and the emulator share a few cores."""
    memory_gb: float = 1.0
    apply_s: float = 5.0
    """From a limit being chosen to Lambda keeping to it. AWS only says that a mapping is ``Updating`` for a while."""
    scaler: bool = True
    """False: the lanes keep their first limits."""
    first_limits: tuple[int, int] = (2, 2)
    """``MaximumConcurrency`` of the high and the normal lane at the start."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The model provider's limits a minute (0: none), what the workers believe them to be, and the longest wait."""

    rpm: int = 0
    tpm: int = 0
    max_wait_s: float = 5.0
    true_rpm: int = 0
    """What the provider really grants: calls above are answered 429. 0: the same as no such limit."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulation. Rates are runs a minute."""

    name: str
    about: str
    users: int
    peak: float
    minutes: int
    curve: str = "constant"
    """``constant``; ``step``: a tenth for 10 minutes, then the peak; ``day``: the recorded day; ``once``: all at 0."""
    skew: float = 2.0
    """How unequally users submit: 1 is equally."""
    flood: int = 0
    """Runs that one user of the first tier submits at the start on top."""
    tiers: tuple[Tier, ...] = (
        Tier("free", 0.30, 0.70, "normal", 1),
        Tier("standard", 0.55, 0.27, "normal", 10),
        Tier("vip", 0.15, 0.03, "high", 50),
    )
    shape: RunShape = field(default_factory=RunShape)
    platform: Platform = field(default_factory=Platform)
    provider: Provider = field(default_factory=Provider)
    config: Config = field(default_factory=lambda: Config.of(read({})))
    retries: int = 3
    retry_base_s: float = 30.0
    seed: int = 1


def at_scale(most: int, per_minute: int, profile: str = "swift") -> Config:
    """Raise the owner's limits to `most` environments; with the profile ``hpa`` growing by so many a minute."""
    base = replace(Config.of(read({"SCALING_PROFILE": profile})), most=most)
    if base.swift:
        return base
    up = replace(base.up, policies=(base.up.policies[0]._replace(value=per_minute),))
    down = replace(base.down, policies=(base.down.policies[0]._replace(value=max(1, most // 20)),))
    return replace(base, up=up, down=down)


def profiled(scenario: Scenario, profile: str) -> Scenario:
    """Return a scenario with another scaling profile; ``hpa`` grows by an eighth of its most a minute, 4 at least."""
    config = scenario.config
    other = at_scale(config.most, max(4, config.most // 8), profile)
    if config.most <= 20:
        other = replace(Config.of(read({"SCALING_PROFILE": profile})), most=config.most)
    return replace(scenario, config=replace(other, runs_per_environment=config.runs_per_environment))


def _named(scenarios: list[Scenario]) -> dict[str, Scenario]:
    return {scenario.name: scenario for scenario in scenarios}


SCENARIOS = _named(
    [
        Scenario("default", "the defaults under a steady 150 runs a minute", 5_000, 150, 90, "step"),
        Scenario("day", "the defaults over the recorded day", 20_000, 170, 1440, "day"),
        Scenario(
            "flood",
            "one user submits 500 runs into a quiet system (capped at 10 at once)",
            1_000,
            20,
            60,
            flood=500,
            tiers=(Tier("standard", 0.85, 0.9, "normal", 10), Tier("vip", 0.15, 0.1, "high", 50)),
        ),
        Scenario(
            "throttled",
            "the provider grants two thirds of the calls that the load needs, and nobody told the workers",
            5_000,
            120,
            120,
            "step",
            provider=Provider(true_rpm=240),
        ),
        Scenario(
            "budgeted",
            "the same, with PROVIDER_RPM set to what the provider grants",
            5_000,
            120,
            120,
            "step",
            provider=Provider(rpm=240, true_rpm=240),
        ),
        Scenario(
            "long",
            "a tenth of the runs last ten times as long",
            5_000,
            80,
            180,
            "step",
            shape=RunShape(long_share=0.1),
        ),
        Scenario(
            "few-long",
            "two runs a minute, of eight minutes each, over a day: environments are kept by few runs",
            50,
            2,
            1440,
            shape=RunShape(calls=40),
        ),
        Scenario(
            "million",
            "1,000,000 users, 10,000 runs a minute, the limits raised to Lambda's own",
            1_000_000,
            10_000,
            60,
            "step",
            shape=RunShape(calls=2.5),
            config=at_scale(1600, 200),
            platform=Platform(first_limits=(20, 60)),
        ),
        Scenario(
            "million-defaults",
            "1,000,000 users on the default 20 environments: what a ceiling costs in waiting",
            1_000_000,
            1_000,
            60,
            "step",
        ),
    ]
)
"""The scenarios that ``--scenario`` names."""
