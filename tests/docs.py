"""The code blocks of README.md and docs/, and who runs them.

- `docs/api.md`: every `sh`, `python` and `html` block is run, see tests/stack/test_api_docs.py and
  tests/e2e/test_page_docs.py. The Python block of `docs/webhooks.md` is run by tests/unit/webhook/test_signature.py.
- Blocks marked `tutorial` are typed one after the other by tests/stack/test_package.py, as a new user would; one with a
  file's name behind that is written to the file.
- A block marked `as typed in PAGE` holds commands that a tutorial has, too; tests/unit/test_docs.py compares them.
- Elsewhere a block with the info string `bash runnable` or `python runnable` is run by tests/stack/test_docs.py, at the
  root of the repository and against the deployed system; `runnable with PAGE` begins with that page's first such block.
  Every other shell block is listed in tests/docs_not_run.toml;
  of every other Python block tests/unit/test_docs_python.py checks that it compiles and calls what there is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
_FENCE = re.compile(r"^```([\w-]*)(?: ([^\n]*))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_OF_THE_API = {"sh": "tests/stack/test_api_docs.py", "python": "tests/stack/test_api_docs.py"}
_OF_THE_API |= {"html": "tests/e2e/test_page_docs.py"}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    info: str
    code: str

    @property
    def first_line(self) -> str:
        return self.code.partition("\n")[0]

    @property
    def typed_in(self) -> str | None:
        """The page with a tutorial that types the same commands."""
        marked, _, page = self.info.partition("as typed in ")
        return page if page and not marked else None

    @property
    def run_by(self) -> str | None:
        """Which test module runs it, if any."""
        if self.page == "docs/api.md":
            return _OF_THE_API.get(self.language)
        if self.info.partition(" ")[0] == "tutorial" or self.typed_in:
            return "tests/stack/test_package.py"
        if self.page == "docs/webhooks.md" and self.language == "python":
            return "tests/unit/webhook/test_signature.py"
        runnable = self.language in ("bash", "python") and self.info.partition(" ")[0] == "runnable"
        return "tests/stack/test_docs.py" if runnable else None

    @property
    def whole(self) -> str:
        """Its code, behind that of the helpers that it names."""
        _, _, page = self.info.partition("runnable with ")
        helpers = next((b.code for b in BLOCKS if b.page == page and b.info == "runnable"), "")
        return helpers + self.code


BLOCKS = [
    Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2] or "", found[3])
    for page, text in PAGES.items()
    for found in _FENCE.finditer(text)
]
