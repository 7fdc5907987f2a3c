"""The API's description and its pages, from files that ship with it: no page loads anything from elsewhere."""

from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from shared.errors import NotFound

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parent.parent / "static"
_SWAGGER = {
    "swagger-ui-bundle.js": "application/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
    "start.js": "application/javascript",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice API</title>
<link rel="stylesheet" href="{prefix}/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="{prefix}/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui" data-openapi="{prefix}/openapi.json"></div>
<script src="{prefix}/docs/swagger-ui-bundle.js"></script>
<script src="{prefix}/docs/start.js"></script>
</body>
</html>
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/docs")
def get_docs(request: Request) -> HTMLResponse:
    """Show the API's description to people."""
    page = _PAGE.format(prefix=request.scope["root_path"])
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/{name}")
def get_docs_file(name: str) -> Response:
    """Serve a file of that page."""
    kind = _SWAGGER.get(name)
    if kind is None:
        raise NotFound("no such path")
    return FileResponse(STATIC / "swagger" / name, media_type=kind, headers={"Cache-Control": "public, max-age=86400"})


@router.get("/openapi.json")
def get_openapi(request: Request) -> JSONResponse:
    """Describe the API to programs."""
    from functions.api.description.openapi import describe  # all answers' models: nearly no environment needs them

    return JSONResponse(describe(request.app) | {"servers": [{"url": request.scope["root_path"] or "/"}]})
