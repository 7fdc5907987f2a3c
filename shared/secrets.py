"""Secrets: given as settings, or kept in Secrets Manager and read once per execution environment.

A secret's whole string is the value. A rotated secret reaches an environment when it is replaced: deploy again, or
wait for the old ones to end (hours at most).
"""

import threading

from botocore.exceptions import BotoCoreError, ClientError

from shared import aws
from shared.errors import DependencyDown, SettingError
from shared.settings import settings

_lock = threading.Lock()
_read: dict[str, str] = {}
MOST_WEBHOOK_SECRETS = 4
"""Webhook secrets in force at once: each adds a signature to every delivery."""
REFUSED = frozenset({"ResourceNotFoundException", "AccessDeniedException", "DecryptionFailure", "ValidationException"})
"""Answers that will be the same in a moment: the deployment is wrong, not the service away."""


def openai_api_key() -> str:
    """Return the model provider's key; empty: none. See ``stored`` for the errors."""
    return stored("OPENAI_SECRET_ARN", settings().openai_secret_arn) or settings().openai_api_key


def redis_password() -> str:
    """Return the password that is not part of ``REDIS_URL``; empty: none. See ``stored`` for the errors."""
    return stored("REDIS_SECRET_ARN", settings().redis_secret_arn)


def otlp_headers() -> str:
    """Return the headers for the collector of traces, ``name=value,…``; empty: none. See ``stored`` for the errors."""
    return stored("OTLP_HEADERS_ARN", settings().otlp_headers_arn) or settings().otlp_headers


def webhook_secrets() -> list[str]:
    """Return what webhook signatures are derived from, the newest first; empty: none. See ``stored`` for the errors.

    They stand in one text, with commas between them, so that receivers can change over one by one.

    Raises:
        SettingError: there are more than ``MOST_WEBHOOK_SECRETS``.
    """
    text = stored("WEBHOOK_SECRET_ARN", settings().webhook_secret_arn) or settings().webhook_secret
    found = list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if len(found) > MOST_WEBHOOK_SECRETS:
        why = f"WEBHOOK_SECRET holds {len(found)} secrets; at most {MOST_WEBHOOK_SECRETS} can be in force"
        raise SettingError(why, param="WEBHOOK_SECRET")
    return found


def stored(variable: str, arn: str) -> str:
    """Return a stored secret, read on first use; empty when the variable that names it is.

    Raises:
        SettingError: it refused; the message names the variable.
    """
    if not arn:
        return ""
    known = _read.get(arn)
    if known is not None:
        return known
    with _lock:  # a cold environment asks once, not once per run
        if arn not in _read:
            _read[arn] = _fetch(variable, arn)
        return _read[arn]


def _fetch(variable: str, arn: str) -> str:
    try:
        return str(aws.secrets_manager().get_secret_value(SecretId=arn)["SecretString"]).strip()
    except (ClientError, BotoCoreError) as error:
        if aws.error_code(error) in REFUSED:
            raise SettingError(f"{variable}: Secrets Manager says {aws.error_code(error)}", param=variable) from error
        raise DependencyDown("secretsmanager") from error
    except KeyError:
        raise SettingError(f"{variable}: the secret holds bytes, a text is needed", param=variable) from None


def forget() -> None:
    """Forget what was read (between tests)."""
    with _lock:
        _read.clear()
