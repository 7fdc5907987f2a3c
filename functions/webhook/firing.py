"""The webhook of a schedule whose firing made no run, or that was paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.webhook.post import send
from shared import webhooks
from shared.schedules import telling

if TYPE_CHECKING:
    from functions.webhook.post import Answer


def tell(place: str, instant: str) -> Answer:
    """Tell of a firing once.

    Raises:
        NotFound: its schedule was deleted.
        DependencyDown: DynamoDB is away.
    """
    news = telling.read(place, instant)
    return send(news.url, news.payload(), news.message_id, webhooks.secrets_for(news.key_id))
