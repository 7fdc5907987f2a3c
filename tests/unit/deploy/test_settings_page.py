"""docs/settings.md says what the code and the template say."""

from __future__ import annotations

from dataclasses import fields

from deploy import settings_page
from deploy.stack import read_template
from localstack.environ import ROOT
from shared.settings import Settings


def test_the_page_is_up_to_date() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), "run `make settings-page`"


def test_every_setting_and_every_parameter_has_its_row() -> None:
    rows = [line.split("|")[1].strip() for line in settings_page.page().splitlines() if line.startswith("| `")]
    assert {f"`{item.name.upper()}`" for item in fields(Settings)} <= set(rows)
    assert {f"`{name}`" for name in read_template(ROOT / "template.yaml")["Parameters"]} <= set(rows)


def test_a_row_keeps_its_cells_whatever_stands_in_them() -> None:
    for line in settings_page.page().splitlines():
        if line.startswith("| `"):
            assert line.replace("\\|", "").count("|") in (4, 5, 6)
