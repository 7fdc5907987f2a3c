"""OpenAI's models: those that the caller's tier may use, by their tier's leave and price."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem
from functions.api.description.note import described
from functions.api.door.identity import AnyCaller, Caller
from shared import wire
from shared.limits import models, operators
from shared.settings import settings

router = APIRouter(prefix="/v1", tags=["OpenAI dialect"])


@router.get("/models", summary="List models")
@described("ModelList", 401, error="OpenAIErrorBody")
def list_models(caller: AnyCaller) -> JSONResponse:
    """List models that the caller's tier may use: the deployment's own, those it priced, and common ones.

    OpenAI's list has no pages: of tens of thousands it names as many as an answer holds. Each can be retrieved.
    """
    found = [_model(name) for name in _models(caller)]
    return JSONResponse({"object": "list", "data": found[: wire.how_many(found)]})


@router.get("/models/{model:path}", summary="Retrieve a model")
@described("ModelView", 401, 404, error="OpenAIErrorBody")
def get_model(caller: AnyCaller, model: str) -> JSONResponse:
    """Return one of these models, or any other that has a price."""
    priced = models.known(model) is not None and caller.limits.allows_model(model)
    if not priced and model not in _models(caller):
        raise Problem(
            404, "model_not_found", f"The model '{model[:80]}' does not exist or you may not use it.", "model"
        )
    return JSONResponse(_model(model))


def _models(caller: Caller) -> list[str]:
    config = settings()
    known = [*operators.priced(), *models.COMMON, config.default_model, *config.fallback_models.split(",")]
    return sorted({name.strip() for name in known if name.strip() and caller.limits.allows_model(name.strip())})


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "sluice"}
