"""Lambda entry point of the webhook queue: SQS batch in, partial batch response out."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from functions.webhook.deliver import BadDelivery, see_to
from shared import metrics
from shared.errors import SluiceError
from shared.logs import fields, get_logger

_log = get_logger("webhook")


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Deliver a batch, all at once: one slow receiver must not hold up the others."""
    records = event.get("Records", [])
    with ThreadPoolExecutor(max(1, len(records))) as pool:
        kept = list(pool.map(_one, records))
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in kept if message_id]}


def _one(record: dict[str, Any]) -> str | None:
    """See to one message; returns its id if it must come back."""
    message_id = str(record["messageId"])
    with fields(message_id=message_id):
        try:
            outcome = see_to(record["body"])
        except BadDelivery as error:
            _log.error("unreadable webhook message", extra={"error": error.message})
            return message_id
        except SluiceError as error:
            _log.error("webhook not seen to", extra={"code": error.code, "error": error.message})
            return message_id
        except Exception:
            # A defect met by one message must not send the rest of the batch out again.
            _log.exception("webhook not seen to")
            return message_id
        _log.info("webhook", extra={"outcome": outcome})
        metrics.count("Webhooks", outcome=outcome)
    return None
