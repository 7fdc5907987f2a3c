"""Lambda entry point of the dead-letter queues: SQS batch in, partial batch response out."""

from typing import Any

from functions.dead_letter.bury import bury
from shared import metrics
from shared.errors import SluiceError
from shared.logs import fields, get_logger

_log = get_logger("dead_letter")


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """See to each dead message; one that could not be seen to comes back."""
    failures = []
    for record in event.get("Records", []):
        with fields(message_id=record["messageId"]):
            try:
                outcome = bury(record)
                metrics.count("DeadLetters", outcome=outcome)
                _log.info("dead letter", extra={"outcome": outcome})
            except SluiceError as error:
                _log.error("dead letter not seen to", extra={"code": error.code, "error": error.message})
                failures.append({"itemIdentifier": record["messageId"]})
            except Exception:  # what is wrong with one message keeps no other task from its end
                _log.exception("dead letter not seen to")
                failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
