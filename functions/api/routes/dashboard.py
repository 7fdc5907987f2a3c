"""The dashboard: one static page and its files, which ship with the API. It loads nothing from elsewhere.

Files live under an address that names their content, so that browsers keep them for ever and never mix two versions.
"""

import hashlib
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from functions.api.submit.allowed import agents
from functions.api.system.scripts import GROUPS, script
from shared.errors import NotFound
from shared.settings import settings

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parent.parent / "static" / "dashboard"
PAGE = "index.html"
KINDS = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    "": "text/plain",
}
"""What may be served, by the name's ending; licences have none."""
STYLES = ("theme", "page", "parts", "forms", "limits", "list", "run", "system", "costs")
"""Style sheets in the order of their precedence; they are served as one, ``all.css``, to spare requests."""
FOR_EVER = "public, max-age=31536000, immutable"


@cache
def files() -> dict[str, Path]:
    """Return the page's files by the name they are served under: nothing else can be asked for."""
    found = sorted(path for path in STATIC.rglob("*") if path.is_file() and path.suffix in KINDS)
    return {path.relative_to(STATIC).as_posix(): path for path in found}


@cache
def version() -> str:
    """Return a name for the present content of all files."""
    digest = hashlib.sha256((STATIC / PAGE).read_bytes())
    served = {name: path.read_bytes() for name, path in files().items()}
    for name, content in (served | {name: text.encode() for name, text in joined().items()}).items():
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


@cache
def policy() -> str:
    """Return the page's Content-Security-Policy: own files only, no inline code, no HTML made from strings."""
    live = [urlsplit(settings().ws_url), urlsplit(settings().stream_url)]
    schemes = ("ws", "wss", "http", "https")
    origin = "".join(f" {one.scheme}://{one.netloc}" for one in live if one.scheme in schemes and one.netloc)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{origin}; base-uri 'self'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


@cache
def styles() -> str:
    """Return all style sheets as one."""
    own = [STATIC / "css" / f"{name}.css" for name in STYLES]
    return "\n".join(path.read_text() for path in (*own, STATIC / "vendor" / "uplot" / "uPlot.min.css"))


@cache
def joined() -> dict[str, str]:
    """Return what is served in one piece, to spare requests."""
    return {"all.css": styles(), **{name: script(name) for name in GROUPS}}


@router.get("/")
def get_dashboard(request: Request) -> HTMLResponse:
    """Show the dashboard. Its addresses are relative; a prefix that is known helps where the slash is missing."""
    prefix = request.scope["root_path"]
    page = (STATIC / PAGE).read_text()
    page = page.replace("<!-- base -->", f'<base href="{escape(prefix)}/">' if prefix else "")
    page = page.replace("{version}", version())
    page = page.replace("{agents}", escape(" ".join(sorted(agents() or ()))))
    page = page.replace("{stream}", "true" if settings().stream_url else "false")
    page = page.replace("{model}", escape(settings().default_model))
    return HTMLResponse(page, headers={"Content-Security-Policy": policy(), "Cache-Control": "no-cache"})


@router.get("/dashboard/{asked}/{name:path}")
def get_dashboard_file(asked: str, name: str) -> Response:
    """Serve a file of the page; one asked for under another version (amid a deployment) is not kept."""
    headers = {"Cache-Control": FOR_EVER if asked == version() else "no-store"}
    if name in joined():
        return Response(joined()[name], media_type=KINDS[Path(name).suffix], headers=headers)
    path = files().get(name)
    if path is None:
        raise NotFound("no such path")
    return FileResponse(path, media_type=KINDS[path.suffix], headers=headers)
