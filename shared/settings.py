"""Settings, read once from the environment and checked before anything runs.

A field's variable is its name in capitals. An empty variable counts as unset. ``docs/settings.md`` is made from here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields
from functools import cache
from typing import Any

from shared.errors import SettingError

POOL_PROFILES: dict[str, tuple[int, int]] = {"low": (20, 5), "medium": (100, 20), "high": (500, 50)}
"""Connection pool profiles: (most connections, connections kept alive)."""


OPEN_FILES = 1024
"""Files that an environment of Lambda may have open, and threads
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, 2026-11)."""
FILES_PER_RUN = 4
"""A run in each slot, and one that is being seen off: each has a connection to DynamoDB and one to Valkey."""
OTHER_FILES = 300
"""Those of pages, webhooks' names, SQS and S3, watchers, logs, and the code itself."""
MOST_RUNS = (OPEN_FILES - OTHER_FILES) // (FILES_PER_RUN + 1)
"""With one connection to a model for each, at least."""
LEAST_SCALED = 4
"""Fewest environments that the scaler can divide: Lambda's smallest limit, 2, for each of two lanes."""
STOP_MARGIN_SECONDS = 3.0
"""Time kept at the end of an invocation for giving runs back, s."""

_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")
"""Browsers send origins in lower case and without a path; anything else would silently match none."""


_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(/[!-~]*)?")


def _f(
    default: Any, doc: str, *, low: float | None = None, high: float | None = None, one_of: tuple[str, ...] = ()
) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "one_of": one_of})


@dataclass(init=False, repr=False, eq=False, slots=True, kw_only=True)  # what it would write takes 1 % of a cold start
class Settings:
    """Every tunable of a function, with the template's defaults. They do not change."""

    stage: str = _f("aws", "Where it runs.", one_of=("aws", "local"))
    metrics_namespace: str = _f("Sluice", "CloudWatch namespace of the metrics.")
    publish_metrics: bool = _f(True, "Whether CloudWatch makes metrics of the log lines, which costs by metric.")
    log_level: str = _f("INFO", "Least level logged.", one_of=("DEBUG", "INFO", "WARNING", "ERROR"))
    table_name: str = _f("", "DynamoDB table.")
    blob_bucket: str = _f("", "S3 bucket of large values; empty: they are refused.")
    blob_bucket_owner: str = _f("", "Account that must own it: S3 refuses calls to a bucket of another; empty: any.")
    redis_url: str = _f("", "Valkey or Redis address; `?cluster=true` for a cluster; empty: none.")
    redis_secret_arn: str = _f("", "Secret with the password for it, in Secrets Manager; empty: none.")
    redis_down: str = _f("degrade", "What a submit does without Redis.", one_of=("degrade", "refuse"))
    queue_url_high: str = _f("", "Queue of the high lane.")
    queue_url_normal: str = _f("", "Queue of the normal lane.")
    queue_url_quarantine: str = _f("", "Queue of tasks that crashed twice.")
    queue_url_firings: str = _f("", "Queue of schedules' firings; empty: there are no schedules.")
    queue_url_bulk: str = _f("", "Queue of batches that are to be looked at; empty: there are no batches.")
    queue_url_webhook: str = _f("", "Queue of webhook deliveries; empty: none are sent.")
    ws_url: str = _f("", "Address of the WebSocket API for clients.")
    stream_url: str = _f("", "The streaming address, for clients; empty: none.")
    ws_endpoint_url: str = _f("", "Management address of the WebSocket API.")
    esm_uuid_high: str = _f("", "Event source mapping of the high lane.")
    esm_uuid_normal: str = _f("", "Event source mapping of the normal lane.")

    lease_seconds: int = _f(60, "How long a worker owns a task without a heartbeat, s.", low=2, high=600)
    heartbeat_seconds: float = _f(20, "Interval of heartbeats, s; below half a lease.", low=0.2, high=300)
    max_retries: int = _f(3, "Retries of a step after its first failure.", low=0, high=20)
    retry_base_seconds: float = _f(30, "First retry delay, s; doubles each time.", low=0, high=900)
    max_crashes: int = _f(5, "Crashes after which a task fails.", low=1, high=20)
    quarantine_after: int = _f(2, "Crashes after which a task runs alone.", low=1, high=20)
    runs_per_environment: int = _f(50, "Runs at once in one environment.", low=1, high=MOST_RUNS)
    batch_size: int = _f(10, "Messages of one worker invocation's event.", low=1, high=10)
    refill_seconds: float = _f(60, "How long an invocation fills slots that come free, s; 0: never.", low=0, high=900)
    worker_timeout_seconds: int = _f(900, "The worker function's timeout, s.", low=10, high=1800)
    task_ttl_days: float = _f(7, "Days that a task and its events are kept.", low=0.01, high=3650)
    untried_days: float = _f(14, "Days after which a task that no worker took is given up.", low=0.01, high=3650)
    blob_days: float = _f(30, "Days that large values are kept in S3.", low=1, high=3650)
    result_max_wait: float = _f(
        25, "Longest `wait` of a long poll, s; the streaming address has its own.", low=0, high=870
    )
    api_reserved_concurrency: int = _f(0, "Concurrency reserved for the API; 0: as Lambda says.", low=0)
    result_url_seconds: int = _f(3600, "How long the address of a large result is good, s.", low=60, high=43_200)
    cors_origins: str = _f("", "Origins whose pages may call an API without a gateway, which else sees to it.")
    stream_seconds: float = _f(840, "Longest life of a stream, s; its client then comes again.", low=1, high=870)
    max_children: int = _f(1_000, "Runs that one run may start.", low=0, high=10_000)
    max_depth: int = _f(4, "Levels of runs that start others, below one that a client submitted.", low=0, high=20)
    max_schedules: int = _f(100, "Schedules of a user that have not ended; 0: there are none.", low=0, high=10_000)
    schedule_least_seconds: int = _f(60, "Shortest time between two firings of a schedule, s.", low=60, high=86_400)
    max_batches: int = _f(20, "Batches of a user that have not ended; 0: there are none.", low=0, high=10_000)
    max_batch_lines: int = _f(50_000, "Lines of a batch.", low=1, high=1_000_000)
    batch_window: int = _f(100, "Lines of a batch that are tasks at one time.", low=1, high=1_000)
    bulk_share: int = _f(80, "Share of the normal lane's slots up to which batches fill it, %.", low=1, high=100)
    cost_days: int = _f(400, "Days that what each day cost is kept (`GET /costs`).", low=1, high=3650)
    max_file_bytes: int = _f(200_000_000, "Bytes of one uploaded file.", low=1, high=5_000_000_000)
    max_files: int = _f(1_000, "Files that a user may have.", low=0, high=100_000)
    file_days: float = _f(30, "Days that files are kept.", low=0.01, high=3650)
    session_turns: int = _f(50, "Turns of a session that a run may see.", low=0, high=500)

    quota_requests: int = _f(60, "Requests per window of the standard tier; 0: no limit.", low=0)
    quota_window_seconds: int = _f(3600, "Length of that window, s.", low=1, high=86_400)
    ingress_rate: float = _f(10, "Submits per second of all users; 0: no limit.", low=0)
    ingress_burst: int = _f(20, "Submits at once of all users.", low=1)
    global_queue_limit: int = _f(100_000, "Open tasks of all users; 0: no limit.", low=0)
    global_tokens_per_day: int = _f(0, "Tokens per UTC day of all users; 0: no ceiling.", low=0)
    global_usd_per_day: float = _f(0, "USD per UTC day of all users; 0: no ceiling.", low=0)
    provider_rpm: int = _f(0, "Model calls per minute of all workers; 0: no limit.", low=0)
    provider_tpm: int = _f(0, "Model tokens per minute of all workers; 0: no limit.", low=0)
    provider_max_wait_seconds: float = _f(5, "Longest wait in memory for the provider's budget, s.", low=0, high=300)
    breaker_failures: int = _f(5, "Consecutive failures that open the breaker.", low=1)
    breaker_open_seconds: float = _f(30, "How long it stays open, s.", low=0.1, high=3600)

    default_model: str = _f("gpt-4o-mini", "Model of a request that names none.")
    fallback_models: str = _f("", "Models tried, in order, when the first is down; comma-separated.")
    prices: str = _f("", "JSON: model names or patterns to USD per million tokens, [input, output] or one figure.")
    prices_object: str = _f("", "S3 object with the same, as `bucket/key`; `Prices` wins.")
    context_tokens: str = _f("", "Context sizes: tokens of every model, or JSON by names or patterns.")
    openai_output_tokens: int = _f(
        4_096, "Output tokens of each model call of `/v1` when the request names no limit.", low=1, high=128_000
    )
    allow_unpriced_models: bool = _f(False, "Run models without a price, charged as the default one.")
    openai_base_url: str = _f("", "Model provider's address; empty: OpenAI's.")
    openai_api_key: str = _f("", "Model provider's key.")
    openai_secret_arn: str = _f("", "Secret with that key, in Secrets Manager; wins over the plain one.")
    provider_profiles: str = _f("", "JSON: model names or patterns to how the provider takes requests.")
    model_timeout_seconds: float = _f(60, "Longest wait for the first byte of a model's answer, s.", low=0.5, high=870)
    model_stall_seconds: float = _f(60, "Longest silence within a model's answer, s.", low=0.5, high=870)
    model_margin_seconds: float = _f(2, "Time kept after a model call before its function's end, s.", low=0, high=60)
    pool_profile: str = _f("medium", "Connection pool of the worker.", one_of=tuple(POOL_PROFILES))
    webhook_secret: str = _f("", "Secret that webhook signatures are derived from; empty: none are sent.")
    webhook_secret_arn: str = _f("", "That secret in Secrets Manager; wins over the plain one.")
    alert_webhook_url: str = _f("", "Where the operator is told of budgets' thresholds; empty: nowhere.")
    otlp_endpoint: str = _f("", "Collector of traces, OTLP over HTTP; empty: none are exported.")
    otlp_headers: str = _f("", "Headers for it, `name=value,name=value`.")
    otlp_headers_arn: str = _f("", "Secret with them, in Secrets Manager; wins over the plain ones.")
    allow_private_addresses: bool = _f(False, "Let webhooks and page fetches reach private addresses (tests only).")

    min_replicas: int = _f(2, "Least worker environments.", low=1)
    max_replicas: int = _f(20, "Most worker environments.", low=6)
    quarantine_concurrency: int = _f(2, "Those of them that are the quarantine lane's; the scaler leaves it.", low=2)
    scaling_profile: str = _f("swift", "How the scaler scales; see docs/scaling.md.", one_of=("swift", "hpa"))
    scaler_look_seconds: float = _f(5, "How often `swift` looks while there are tasks, s.", low=1, high=60)
    swift_utilization: float = _f(85, "Busy share of replicas' run slots that `swift` aims at, %.", low=1, high=100)
    target_backlog: float = _f(5, "Queued tasks per replica that the scaler aims at.", low=0.1)
    target_utilization: float = _f(60, "Busy share of replicas' run slots that `hpa` aims at, %.", low=1, high=100)
    scale_up_per_minute: int = _f(4, "Replicas added per minute at most.", low=1)
    scale_up_window_seconds: int = _f(30, "Stabilization before scaling up, s.", low=0, high=3600)
    scale_down_per_2min: int = _f(1, "Replicas removed per two minutes at most.", low=1)
    scale_down_window_seconds: int = _f(300, "Stabilization before scaling down, s.", low=0, high=3600)

    def __init__(self, **given: Any) -> None:
        """Take settings that are not as by default.

        Raises:
            TypeError: there is none of such a name.
            SettingError: two do not go together.
        """
        for item in fields(self):
            object.__setattr__(self, item.name, given.pop(item.name, item.default))
        if given:
            raise TypeError(f"no such setting: {', '.join(given)}")
        self._check()

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse it: they hold for as long as the environment does."""
        raise FrozenInstanceError(f"cannot assign to setting {name!r}")

    def _check(self) -> None:
        """Check what involves two settings.

        Raises:
            SettingError: naming the variables.
        """
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise SettingError("HEARTBEAT_SECONDS must be at most half of LEASE_SECONDS")
        if self.batch_size > self.runs_per_environment:
            raise SettingError("BATCH_SIZE must be at most RUNS_PER_ENVIRONMENT")
        margin = self.model_margin_seconds + STOP_MARGIN_SECONDS
        if self.model_timeout_seconds + margin > self.worker_timeout_seconds:
            raise SettingError(
                f"WORKER_TIMEOUT_SECONDS must exceed MODEL_TIMEOUT_SECONDS by {margin:g}, "
                "or no model call could ever be started"
            )
        if self.provider_profiles:
            from shared import provider_profiles

            provider_profiles.parse(self.provider_profiles)
        if self.otlp_endpoint and not _ENDPOINT.fullmatch(self.otlp_endpoint):
            raise SettingError("OTLP_ENDPOINT must be an address like https://collector.example.com:4318")
        if self.alert_webhook_url and not _ENDPOINT.fullmatch(self.alert_webhook_url):
            raise SettingError("ALERT_WEBHOOK_URL must be an address like https://ops.example.com/sluice")
        for origin in self.allowed_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise SettingError(f"CORS_ORIGINS holds {origin!r}, which is no origin like https://app.example.com")
        scaled = self.max_replicas - self.quarantine_concurrency
        if scaled < LEAST_SCALED:
            raise SettingError(f"MAX_REPLICAS must exceed QUARANTINE_CONCURRENCY by {LEAST_SCALED}: two for each lane")
        if self.min_replicas > scaled:
            raise SettingError(f"MIN_REPLICAS must be at most MAX_REPLICAS less QUARANTINE_CONCURRENCY, {scaled}")
        if self.task_ttl_days > self.blob_days:
            raise SettingError("TASK_TTL_DAYS must not exceed BLOB_DAYS, or large values would go before their tasks")

    @property
    def queue_urls(self) -> dict[str, str]:
        """The lanes' queues by lane name."""
        return {"high": self.queue_url_high, "normal": self.queue_url_normal, "quarantine": self.queue_url_quarantine}

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins of ``cors_origins``."""
        return tuple(part.strip() for part in self.cors_origins.split(",") if part.strip())

    @property
    def sends_webhooks(self) -> bool:
        """Whether there is a queue for webhooks and a secret to sign them with."""
        return bool(self.queue_url_webhook and (self.webhook_secret or self.webhook_secret_arn))

    @property
    def pool_limits(self) -> tuple[int, int]:
        """The chosen pool profile, as far as open files go round: (most connections, kept alive)."""
        most, kept = POOL_PROFILES[self.pool_profile]
        return min(most, OPEN_FILES - OTHER_FILES - FILES_PER_RUN * self.runs_per_environment), kept


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _parse(name: str, kind: str, text: str) -> Any:
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        return _BOOLEANS[text.lower()] if kind == "bool" else text
    except (ValueError, KeyError):
        raise SettingError(f"{name.upper()} must be of type {kind}, not {text!r}", param=name) from None


def read(environ: Mapping[str, str]) -> Settings:
    """Build settings from environment variables.

    Raises:
        SettingError: a value has the wrong type or is out of range; names the variable.
    """
    values: dict[str, Any] = {}
    for item in fields(Settings):
        text = environ.get(item.name.upper(), "")
        value = item.default if text == "" else _parse(item.name, str(item.type), text)
        low, high, one_of = item.metadata["low"], item.metadata["high"], item.metadata["one_of"]
        if one_of and value not in one_of:
            raise SettingError(
                f"{item.name.upper()} must be one of {', '.join(one_of)}, not {value!r}", param=item.name
            )
        # written so that NaN fails too
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise SettingError(f"{item.name.upper()} must be within {low} and {high}, not {value}", param=item.name)
        values[item.name] = value
    return Settings(**values)


@cache
def settings() -> Settings:
    """Return this environment's settings, read on first use."""
    return read(os.environ)
