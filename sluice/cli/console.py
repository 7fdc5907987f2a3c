"""What the commands print, for people or as JSON, and the codes that they end with."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

from sluice.client.errors import ApiError, LimitedError, UnavailableError
from sluice.project import NoSystemError, ProjectError

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED = 1
"""The run, or what was asked for, failed."""
USAGE = 2
"""The command was not understood."""
AWAY = 3
"""There is no system, or it does not answer."""
REFUSED = 4
"""The API refused: a limit, a key, an input."""

HINTS = {
    "unreachable": "is the system up (`sluice status`), or the address right (SLUICE_URL)?",
    "invalid_api_key": "SLUICE_KEY holds the key that is used",
    "missing_api_key": "set SLUICE_KEY",
}
"""What to do about an error of some codes, as a command can know."""

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def show_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


@contextlib.contextmanager
def told(as_json: bool) -> Iterator[None]:
    """Print errors without a traceback and end with the code that is theirs.

    Raises:
        typer.Exit: always, after an error.
    """
    try:
        yield
    except NoSystemError as error:
        _end(as_json, str(error), "no_system", AWAY)
    except ProjectError as error:
        _end(as_json, str(error), "project", FAILED)
    except UnavailableError as error:
        _end(as_json, _hinted(error.message, error.code), error.code, AWAY)
    except ApiError as error:
        wait = (
            f"; try again in {error.retry_after_s:.0f} s"
            if error.retry_after_s and isinstance(error, LimitedError)
            else ""
        )
        _end(as_json, _hinted(f"{error}{wait}", error.code), error.code, REFUSED)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _hinted(message: str, code: str) -> str:
    return f"{message}; {HINTS[code]}" if code in HINTS else message


def _end(as_json: bool, message: str, code: str, status: int) -> None:
    if as_json:
        show_json({"error": {"code": code, "message": message}})
    else:
        err.print(f"[red]error:[/] {escape(message)}")
    sys.stdout.flush()
    raise typer.Exit(status)
