"""Can everybody read a page? It is held against the rules of axe, in both themes, on a desktop and on a phone.

A theme changes colours and nothing else (`test_a_theme_is_colours_alone`): in the second one only the rules about
colours can find anything new. So a page is loaded once for each size, and told of the other theme while it is shown.
"""

from __future__ import annotations

import json
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "color_scheme": "dark",
}
SIZES: dict[str, dict[str, Any]] = {"desktop": {"color_scheme": "light"}, "phone": PHONE | {"color_scheme": "light"}}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""Those of the rules that ask for colours: axe's own category `cat.color`."""


def violations(page: Page) -> list[str]:
    """Hold what is shown against axe's rules."""
    return _broken(page, {"type": "tag", "values": RULES})


def unreadable(page: Page) -> list[str]:
    """Say what is wrong with what is shown, in the light theme and in the dark one; so is what is too wide."""
    found = violations(page) + _too_wide(page)
    page.emulate_media(color_scheme="dark")
    found += [f"dark: {one}" for one in _broken(page, {"type": "rule", "values": OF_COLOURS}) + _too_wide(page)]
    page.emulate_media(color_scheme="light")
    return found


def fits(page: Page) -> bool:
    """Tell whether nothing is wider than the screen; ``innerWidth`` of a phone grows with what is too wide."""
    assert page.viewport_size is not None
    return bool(page.evaluate("n => document.documentElement.scrollWidth <= n", page.viewport_size["width"]))


def _too_wide(page: Page) -> list[str]:
    return [] if fits(page) else ["wider than the screen"]


def _broken(page: Page, rules: dict[str, Any]) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    # What is not asked for is not made: style sheets fetched once more, and a selector for each element.
    options = json.dumps({"runOnly": rules, "resultTypes": ["violations"], "preload": False, "selectors": False})
    found: list[dict[str, Any]] = page.evaluate(f"axe.run({options}).then(found => found.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]} {one['nodes'][0]['failureSummary'][:300]}" for one in found]
