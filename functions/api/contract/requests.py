"""What requests may hold; every limit is a named constant."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from shared.credentials import KEY_CHARACTERS, LEAST_CHARACTERS, MOST_RPM, MOST_USD, PRICES
from shared.limits.output import DEFAULT_OUTPUT_TOKENS
from shared.limits.verdict import THRESHOLDS
from shared.netguard import URL_CHARACTERS as WEBHOOK_CHARACTERS
from shared.netguard import Forbidden
from shared.tasks.model import METADATA_KEY_CHARACTERS, METADATA_PAIRS, METADATA_VALUE_CHARACTERS
from shared.webhooks import check_target

MESSAGE_BYTES = 256 * 1024
"""Largest message, in bytes of UTF-8 (a tier may allow less)."""
CONVERSATION_BYTES = 1024 * 1024
MESSAGES_OF_A_CONVERSATION = 4
"""OpenAI's clients send a conversation anew with each request: such a list may have as much as so many of the tier's
longest messages, and no more than this, as JSON."""
SESSION_CHARACTERS = 128
USER_ID_CHARACTERS = 64
NAME_CHARACTERS = 128
"""Longest name of a model."""
MAX_OUTPUT_TOKENS = 128_000
"""Most output tokens that a request may allow each model call."""
MAX_TIMEOUT_SECONDS = 86_400
"""Longest ``timeout_s``: a day."""
MAX_COST_USD = 10_000
MAX_RAISE_TOKENS = 10**12
"""Most tokens by which one answer raises a day's ceiling for a run."""
IDEMPOTENCY_KEY_CHARACTERS = 255
REASON_CHARACTERS = 4_000
"""Longest reason of a denial."""
PAGE_TASKS = 100
"""Most tasks of one page of ``GET /agent``."""
MAX_WAIT_SECONDS = 25
"""Longest ``wait``; an HTTP API of API Gateway gives up after 30 s."""
MAX_STREAMED_WAIT_SECONDS = 870
"""Longest ``wait`` at the streaming address, where `StreamSeconds` bounds it."""
"""Largest event number."""

SessionId = Annotated[
    str,
    StringConstraints(
        pattern=r"^(\.{0,2}[A-Za-z0-9_:@~-]|\.{3})[A-Za-z0-9._:@~-]*$", min_length=1, max_length=SESSION_CHARACTERS
    ),
]
"""Neither ``.`` nor ``..``: it stands in addresses, which clients and proxies make shorter by such names."""
UserId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@~-]+$", min_length=1, max_length=USER_ID_CHARACTERS)]
USER_ID = re.compile(r"[A-Za-z0-9._:@~-]{1,64}")
"""The same, for where a request is only looked at."""
AgentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", min_length=1, max_length=64)]
ModelName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9._:/@+-]+$", min_length=1, max_length=NAME_CHARACTERS)
]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=METADATA_KEY_CHARACTERS)]
MetadataValue = Annotated[str, StringConstraints(max_length=METADATA_VALUE_CHARACTERS)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=METADATA_PAIRS)]
Priority = Literal["high", "normal"]
StatusName = Literal["queued", "processing", "waiting", "complete", "failed", "cancelled"]


def _public(url: str) -> str:
    """Refuse what can be no public https address. Delivery checks again, on the address that the name then has.

    Raises:
        ValueError: says what is wrong with it.
    """
    if not url.isascii():
        raise ValueError("an international name must be given in its ASCII form")
    try:
        check_target(url)
    except Forbidden as error:
        raise ValueError(error.message) from error
    return url


PublicAddress = Annotated[str, Field(min_length=1, max_length=WEBHOOK_CHARACTERS), AfterValidator(_public)]
"""A public https address, as far as one can tell by its text."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Strict(_Strict):
    """What a client sends: nothing unknown, no type made another. It is built when it is first used."""

    model_config = ConfigDict(defer_build=True)


class AgentRequest(_Strict):
    """A message for an agent."""

    message: Annotated[str, Field(min_length=1, description=f"The text; at most {MESSAGE_BYTES} bytes of UTF-8.")]
    session_id: Annotated[
        SessionId | None,
        Field(description="Conversation whose earlier turns the agent sees; without one nothing is remembered."),
    ] = None
    on_busy: Annotated[
        Literal["wait", "reject", "parallel"],
        Field(
            description="While another run of the session is not done: wait for it, be refused (409), or run beside it."
        ),
    ] = "wait"
    agent: Annotated[AgentName, Field(description="Which agent runs.")] = "chat"
    model: Annotated[ModelName | None, Field(description="Model; the deployment's default when absent.")] = None
    priority: Annotated[Priority | None, Field(description="Lane; the tier's own when absent, 403 above the tier.")] = (
        None
    )
    max_output_tokens: Annotated[
        int | None,
        Field(ge=1, le=MAX_OUTPUT_TOKENS, description=f"Per model call; {DEFAULT_OUTPUT_TOKENS} when absent."),
    ] = None
    timeout_s: Annotated[
        float | None,
        Field(
            gt=0,
            le=MAX_TIMEOUT_SECONDS,
            allow_inf_nan=False,
            description="The run fails when not done so many seconds after submission.",
        ),
    ] = None
    max_cost_usd: Annotated[
        float | None,
        Field(
            gt=0,
            le=MAX_COST_USD,
            allow_inf_nan=False,
            description="The run fails, or asks, before a call that could pass it.",
        ),
    ] = None
    on_budget: Annotated[
        Literal["fail", "ask"] | None,
        Field(
            description="Before a call that could pass `max_cost_usd` or a budget of the day: fail, or wait until the "
            "ceiling is raised (`GET /approvals`). The tier's own when absent, which is `fail` mostly."
        ),
    ] = None
    metadata: Annotated[Metadata | None, Field(description="Yours; shown in the result.")] = None
    approve: Annotated[
        bool
        | Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=64)]], Field(max_length=64)]
        | None,
        Field(description="Tools whose calls wait until you allow them: their names, `*` in them, or true for all."),
    ] = None
    stream: Annotated[
        bool | None,
        Field(
            description="false: watchers see each model call's text in one piece, once it is whole, which takes less "
            "processor time; while it is written when absent."
        ),
    ] = None
    webhook_url: Annotated[PublicAddress | None, Field(description="https address told when the task has ended.")] = (
        None
    )
    user_id: Annotated[UserId | None, Field(description="User of a trusted service's own; 403 with any other key.")] = (
        None
    )


Usd = Annotated[float, Field(ge=0, le=MOST_USD, allow_inf_nan=False)]


class OwnPrice(_Strict):
    """What a provider charges for a model, USD per million tokens."""

    input: Usd
    output: Usd
    cached: Annotated[
        Usd | None, Field(description="Of input that it read from its cache; as `input` when absent.")
    ] = None


class CredentialsRequest(_Strict):
    """A key of one's own."""

    api_key: Annotated[
        str,
        StringConstraints(min_length=LEAST_CHARACTERS, max_length=KEY_CHARACTERS, pattern=r"^[!-~]+$"),
        Field(description="The provider's key. It is stored encrypted, and never shown."),
    ]
    base_url: Annotated[
        PublicAddress | None,
        Field(description="https address of a provider that speaks OpenAI's protocol; the deployment's when absent."),
    ] = None
    prices: Annotated[
        dict[ModelName | Literal["*"], OwnPrice] | None,
        Field(
            max_length=PRICES,
            description="What it charges, by model; `*` is every other one. What has no price here costs nothing here.",
        ),
    ] = None
    requests_per_minute: Annotated[
        int | None, Field(ge=1, le=MOST_RPM, description="How often it may be asked; no limit when absent.")
    ] = None


class AlertsRequest(_Strict):
    """Where a user is told of their budget."""

    webhook_url: Annotated[
        PublicAddress,
        Field(description="https address that is told when 50, 80 and 100 % of a day's budget are spent."),
    ]
    thresholds: Annotated[
        list[Literal[50, 80, 100]] | None,
        Field(min_length=1, max_length=len(THRESHOLDS), description="At which of these, percent; at all when absent."),
    ] = None


class ApprovalAnswer(_Strict):
    """The answer to a call, or to more budget, that a run waits to be allowed."""

    decision: Annotated[Literal["allow", "deny"], Field(description="Whether the call is made.")]
    reason: Annotated[
        str | None, Field(max_length=REASON_CHARACTERS, description="Why not, in words that the model is shown.")
    ] = None
    arguments: Annotated[
        dict[str, Any] | None, Field(description="Arguments in place of those asked for; only with `allow`.")
    ] = None
    raise_usd: Annotated[
        float | None,
        Field(gt=0, le=MAX_COST_USD, allow_inf_nan=False, description="By how much to raise a ceiling in USD."),
    ] = None
    raise_tokens: Annotated[
        int | None, Field(gt=0, le=MAX_RAISE_TOKENS, description="By how much to raise a ceiling in tokens.")
    ] = None

    @model_validator(mode="after")
    def _goes_with_what_is_allowed(self) -> Self:
        if self.decision != "allow" and (self.arguments, self.raise_usd, self.raise_tokens) != (None, None, None):
            raise ValueError("arguments and raises go with `allow` only")
        return self
