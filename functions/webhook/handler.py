"""Lambda entry point of the webhook queue: SQS batch in, partial batch response out."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from functions.webhook.deliver import BadDelivery, see_to
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
    with fields(message_id=record["messageId"]):
        try:
            _log.info("webhook", extra={"outcome": see_to(record["body"])})
        except BadDelivery as error:
            _log.error("unreadable webhook message", extra={"error": error.message})
            return str(record["messageId"])
        except SluiceError as error:
            _log.error("webhook not seen to", extra={"code": error.code, "error": error.message})
            return str(record["messageId"])
    return None
