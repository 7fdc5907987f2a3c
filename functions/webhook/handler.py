"""Lambda entry point of the webhook queue: SQS batch in, partial batch response out."""

from typing import Any

from functions.webhook.deliver import BadDelivery, is_trace, see_to
from functions.webhook.desk import LAST_SECONDS, RECEIVED, Desk
from shared import metrics
from shared.clock import now
from shared.errors import SluiceError
from shared.logs import fields, get_logger

_log = get_logger("webhook")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Deliver a batch, all at once, and what comes meanwhile: a slow receiver must not hold up the others."""
    records = {str(record["messageId"]): record["body"] for record in event.get("Records", [])}
    left = 0.0 if context is None else context.get_remaining_time_in_millis() / 1000 - LAST_SECONDS
    kept = Desk(_one, now() + left).run(records)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in kept]}


def _one(message: str, body: str) -> bool:
    """See to one message; returns whether it is done with."""
    with fields(message_id=message.removeprefix(RECEIVED)[:64]):
        try:
            outcome = see_to(body)
        except BadDelivery as error:
            _log.error("unreadable webhook message", extra={"error": error.message})
            return False
        except SluiceError as error:
            _log.error("webhook not seen to", extra={"code": error.code, "error": error.message})
            return False
        except Exception:
            # A defect met by one message must not send the rest of the batch out again.
            _log.exception("webhook not seen to")
            return False
        _log.info("webhook", extra={"outcome": outcome})
        metrics.count("Traces" if is_trace(body) else "Webhooks", outcome=outcome)
    return True
