"""Webhooks that tell of something else than a task: of a budget's threshold, or of a firing that made no run."""

from functions.webhook.post import Answer, send
from shared import webhooks
from shared.alerts import model, targets
from shared.schedules import telling
from shared.settings import settings


def of_budget(place: str, to: str) -> Answer | None:
    """Send an alert once, to ``operator`` or ``user``, at the address that holds now; None: there is none any more.

    Raises:
        NotFound: the alert is gone.
    """
    alert = model.read(place)
    if to == "operator":
        url, key_id = settings().alert_webhook_url, webhooks.OPERATOR
    else:
        target = targets.of(alert.whose)
        wanted = target is not None and alert.threshold in target.thresholds
        url, key_id = (target.url, target.key_id) if target and wanted else ("", "")
    if not url:
        return None
    return send(url, alert.payload(), alert.message_id, webhooks.secrets_for(key_id))


def of_firing(place: str, instant: str) -> Answer:
    """Tell once of a firing that made no run, or of a schedule that was paused.

    Raises:
        NotFound: its schedule was deleted.
    """
    news = telling.read(place, instant)
    return send(news.url, news.payload(), news.message_id, webhooks.secrets_for(news.key_id))
