"""The documentation as a site: each page has one place in it, and what checks the built site finds what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import site
from localstack.environ import ROOT

CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
LLMS = (ROOT / "llms.txt").read_text()
PAGES = {path.name for path in (ROOT / "docs").glob("*.md")}
KINDS = ["Tutorial", "How-to", "Reference", "Explanation"]


def files(nav: Any) -> list[str]:
    """Return the pages of a navigation, in order."""
    if isinstance(nav, str):
        return [nav]
    if isinstance(nav, dict):
        return [each for value in nav.values() for each in files(value)]
    return [each for one in nav for each in files(one)]


def test_every_page_is_in_the_navigation_once_and_no_other() -> None:
    named = files(CONFIG["nav"])
    assert sorted(named) == sorted(PAGES)


def test_pages_are_of_four_kinds() -> None:
    assert [next(iter(one)) for one in CONFIG["nav"]] == ["Start", *KINDS]


def test_llms_txt_names_every_page_once_with_a_sentence() -> None:
    assert re.findall(r"^## (.+)$", LLMS, re.M) == KINDS
    named = re.findall(r"^- \[[^\]]+\]\(docs/([\w-]+\.md)\): \S.+\.$", LLMS, re.M)
    assert sorted(named) == sorted(PAGES - {"index.md"})


def test_the_site_loads_nothing_from_elsewhere_by_its_settings() -> None:
    assert CONFIG["theme"]["font"] is False
    assert not {"extra_javascript", "extra_css", "extra"} & set(CONFIG)


def test_what_pages_show_from_outside_goes_with_them(tmp_path: Path) -> None:
    site.lay_out(tmp_path / "site")
    docs = tmp_path / "site" / "docs"
    assert "](../" not in "".join(path.read_text() for path in docs.glob("*.md"))
    assert not [
        line for path in docs.glob("*.md") for line in path.read_text().splitlines() if re.match("```.* ", line)
    ]
    assert (docs / "files/benchmarks/results/gb_seconds.svg").exists()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('<a href="b.html#here">x</a>', None),
        ('<a href="https://example.com/x">x</a><a href="#top">x</a><p id="top">', None),
        ('<a href="gone.html">x</a>', "a.html links to gone.html, which is not there"),
        ('<a href="b.html#gone">x</a>', "a.html links to b.html#gone: that page has no such heading"),
        ('<img src="gone.png">', "a.html links to gone.png, which is not there"),
        ('<script src="https://cdn.example/x.js"></script>', "a.html loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', "a.html loads //fonts.example/x.css"),
        ('<link rel="canonical" href="https://example.com/a">', None),
    ],
)
def test_a_built_page_is_checked(tmp_path: Path, body: str, complaint: str | None) -> None:
    (tmp_path / "a.html").write_text(body)
    (tmp_path / "b.html").write_text('<h2 id="here">x</h2>')
    assert site.complaints(tmp_path) == ([complaint] if complaint else [])
