"""Builds the documentation as a site and checks it: ``make docs``. The result is ``.build/site/site``.

The pages are written for GitHub, too, where they link to files of the repository outside ``docs/``. Such files are
copied into the site, and the links with them. A page is also in the site as its Markdown, which ``llms.txt`` names.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deploy.paths import SYSTEM, WORK

FOLDER = WORK / ".build" / "site"
FILES = "files"
"""Folder of the site for what pages show or link from outside ``docs/``."""
_OUTWARD = re.compile(r"\]\(\.\./([^)#\s]+)\)")
_FENCE = re.compile(r"^(```[\w-]+) .+$", re.MULTILINE)
"""A block's first line. What stands behind its language is for the tests; the builder would not see a block there."""
_LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src"}
_LOADED_RELS = {"stylesheet", "icon", "preload", "modulepreload", "manifest"}


def lay_out(target: Path) -> None:
    """Copy the pages, what they name outside ``docs/``, and the site's configuration into a folder.

    Raises:
        FileNotFoundError: a page names a file that there is not.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(SYSTEM / "docs", target / "docs")
    shutil.copy2(SYSTEM / "mkdocs.yml", target)
    for page in (target / "docs").glob("*.md"):
        text = page.read_text()
        for name in set(_OUTWARD.findall(text)):
            copy = target / "docs" / FILES / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SYSTEM / name, copy)
        page.write_text(_OUTWARD.sub(rf"]({FILES}/\1)", _FENCE.sub(r"\1", text)))


def add_texts(target: Path) -> None:
    """Put the pages' Markdown and ``llms.txt`` beside the built pages."""
    site = target / "site"
    for page in (target / "docs").glob("*.md"):
        shutil.copy2(page, site / page.name)
    (site / "llms.txt").write_text((SYSTEM / "llms.txt").read_text().replace("](docs/", "]("))


class _Page(HTMLParser):
    """What one page links to, loads, and can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids, links and what the browser would fetch by itself."""
        given = {name: value for name, value in attrs if value}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if tag in _LOADED and _LOADED[tag] in given:
            self.loaded.add(given[_LOADED[tag]])
        if tag == "link" and _LOADED_RELS & set(given.get("rel", "").split()):
            self.loaded.add(given.get("href", ""))


def complaints(site: Path) -> list[str]:
    """Return what is wrong with a built site: links that lead nowhere, and what it would fetch from elsewhere."""
    pages = {path: _Page(path.read_text()) for path in site.rglob("*.html")}
    wrong = []
    for path, page in sorted(pages.items()):
        here = path.relative_to(site)
        wrong += [f"{here} loads {each}" for each in sorted(page.loaded) if urlsplit(each).netloc]
        if here.name == "404.html":  # served at any address, so its links begin at the root
            continue
        for link in sorted(page.links | page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                wrong.append(f"{here} links to {link}, which is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                wrong.append(f"{here} links to {link}: that page has no such heading")
    return wrong


def main() -> int:
    """Run from the command line, with the builder's command as arguments."""
    lay_out(FOLDER)
    done = subprocess.run([*sys.argv[1:], "build", "--strict", "--clean"], cwd=FOLDER, check=False)
    if done.returncode:
        return done.returncode
    add_texts(FOLDER)
    wrong = complaints(FOLDER / "site")
    for each in wrong:
        print(f"error: {each}", file=sys.stderr)
    if not wrong:
        print(f"docs: {FOLDER / 'site' / 'index.html'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
