"""The caller's own data."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import AlertsRequest, CredentialsRequest
from functions.api.control.erase import LONGEST_S, erase
from functions.api.description.note import described
from functions.api.door.body import RawBody, parse
from functions.api.door.identity import Subject
from functions.api.read.hold import MARGIN_S
from shared.limits import names
from shared.limits.verdict import THRESHOLDS
from shared.settings import settings
from shared.tasks import partitions

router = APIRouter(prefix="/me", tags=["data"])

_ALERTS = {"webhook_url": "https://example.com/budget", "thresholds": [80, 100]}
_EXAMPLE = {
    "api_key": "sk-your-own-key",
    "base_url": "https://api.openai.com/v1",
    "prices": {"gpt-4o": {"input": 2.5, "output": 10, "cached": 1.25}, "*": {"input": 0.15, "output": 0.6}},
    "requests_per_minute": 60,
}


@router.put("/credentials", summary="Use your own provider's key")
@described("Credentials", 401, 403, 413, 422, takes=CredentialsRequest, example=_EXAMPLE)
def put_credentials(request: Request, caller: Subject, body: RawBody) -> JSONResponse:
    """Have the caller's runs call the model with this key, within a minute. It is stored encrypted and never shown."""
    from shared import credentials, secrets  # here: few environments are ever asked

    if not secrets.webhook_secrets():
        raise Problem(409, "no_secret", "this deployment has no WebhookSecret to encrypt keys with")
    asked = parse(CredentialsRequest, body, request.headers.get("content-type"))
    prices = {model: one.model_dump(exclude_none=True) for model, one in (asked.prices or {}).items()}
    credentials.put(
        caller.user,
        asked.api_key,
        asked.base_url or "",
        prices=prices,
        requests_per_minute=asked.requests_per_minute or 0,
    )
    return JSONResponse({"credentials": credentials.shown(caller.user)})


@router.get("/credentials", summary="See whether your own key is used")
@described("Credentials", 401, 403, 422)
def get_credentials(caller: Subject) -> JSONResponse:
    """Return what may be seen of the caller's own key: its last four characters, its address, since when."""
    from shared import credentials

    return JSONResponse({"credentials": credentials.shown(caller.user)})


@router.delete("/credentials", summary="Forget your own key")
@described("Credentials", 401, 403, 422)
def delete_credentials(caller: Subject) -> JSONResponse:
    """Erase the caller's own key; their runs use the deployment's again, within a minute. Repeating it is harmless."""
    from shared import credentials

    partitions.delete(f"CREDENTIALS#{caller.user}")
    credentials.forget(caller.user)
    return JSONResponse({"credentials": None})


@router.put("/alerts", summary="Be told of your budget")
@described("Alerts", 401, 403, 413, 422, takes=AlertsRequest, example=_ALERTS)
def put_alerts(request: Request, caller: Subject, body: RawBody) -> JSONResponse:
    """Have a webhook sent when 50, 80 and 100 % of the caller's daily budget are spent, signed as this key's are."""
    from shared.alerts import targets  # here: few environments are ever asked

    asked = parse(AlertsRequest, body, request.headers.get("content-type"))
    if not settings().sends_webhooks:
        raise invalid("this deployment sends no webhooks", "webhook_url", code="webhooks_off")
    made = targets.put(caller.user, asked.webhook_url, caller.key_id, asked.thresholds or THRESHOLDS)
    return JSONResponse({"alerts": made.public()})


@router.get("/alerts", summary="See where you are told of your budget")
@described("Alerts", 401, 403, 422)
def get_alerts(caller: Subject) -> JSONResponse:
    """Return the address that the caller set, and what was told lately.

    Users of a service who have no address are told at the service's.
    """
    from shared.alerts import recent, targets

    found = targets.own(caller.user)
    serves = caller.limits.trusted and caller.user == caller.key_user
    told = recent.told([caller.user, names.key_name(caller.user)] if serves else [caller.user])
    return JSONResponse({"alerts": found and found.public(), "recent": told})


@router.delete("/alerts", summary="Be told no more of your budget")
@described("Alerts", 401, 403, 422)
def delete_alerts(caller: Subject) -> JSONResponse:
    """Erase the caller's address; what has not arrived there yet is not sent any more. Repeating it is harmless."""
    from shared.alerts import targets

    partitions.delete(targets.partition(caller.user))
    return JSONResponse({"alerts": None})


@router.delete("/data", summary="Erase your data")
@described("Erased", 401, 403, 422)
def delete_data(request: Request, caller: Subject) -> JSONResponse:
    """Erase the caller's tasks and conversations. Cancels what still runs; repeat while `more` is true."""
    context = request.scope.get("aws.context")
    room = LONGEST_S if context is None else min(LONGEST_S, context.get_remaining_time_in_millis() / 1000 - MARGIN_S)
    return JSONResponse(erase(caller.user, longest_s=room).public())
