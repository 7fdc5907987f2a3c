"""What a deployment's parameters must satisfy: each by itself, their sums, and the code's own checks of its settings.

CloudFormation knows only a parameter's own range. A combination that the code refuses would deploy well and leave
functions that fail at their start; so the code is asked here, before anything is built or sent.
"""

from __future__ import annotations

import math
import os
import re
from contextlib import contextmanager
from re import fullmatch
from typing import TYPE_CHECKING, Any

from deploy.change_set import DeployError
from shared import settings
from shared.errors import SettingError
from shared.limits import models

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUE_BYTES = 4096
"""Longest value of a parameter (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html,
2026-11)."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def check_parameters(template: dict[str, Any], parameters: dict[str, str], now: dict[str, str] | None = None) -> None:
    """Check parameters before they are sent. ``now``: what parameters that are not given stay at.

    Raises:
        DeployError: naming the parameters.
    """
    known: dict[str, Any] = template["Parameters"]
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise DeployError(f"no such parameter: {', '.join(unknown)}")
    for name, text in parameters.items():
        _check_one(name, text, known[name])
    values = {name: str(one.get("Default", "")) for name, one in known.items()} | (now or {}) | parameters
    _check_sums(values)
    check_settings(template, values)
    if not values["PricesObject"]:
        _check_prices(template, values)


def _check_one(name: str, text: str, one: dict[str, Any]) -> None:
    """Hold a parameter against its own range, as CloudFormation would after the build."""
    if len(text.encode()) > VALUE_BYTES:
        instead = "; put them into S3 and name them in PricesObject" if name == "Prices" else ""
        raise DeployError(f"{name} has {len(text.encode())} bytes, and CloudFormation takes {VALUE_BYTES}{instead}")
    if "AllowedValues" in one and text not in [str(value) for value in one["AllowedValues"]]:
        allowed = ", ".join(str(value) or "(empty)" for value in one["AllowedValues"])
        raise DeployError(f"{name} must be one of {allowed}, not {text!r}")
    if "AllowedPattern" in one and not fullmatch(one["AllowedPattern"], text):
        raise DeployError(f"{name} must match {one['AllowedPattern']}, which {text!r} does not")
    if one["Type"] != "Number":
        return
    if not _NUMBER.fullmatch(text):
        raise DeployError(f"{name} must be a number, not {text!r}")
    low, high = one.get("MinValue", -math.inf), one.get("MaxValue", math.inf)
    if not low <= float(text) <= high:
        raise DeployError(f"{name} must be within {low} and {high}, not {text}")


def _check_sums(values: dict[str, str]) -> None:
    lanes = sum(int(values[f"{lane}Concurrency"]) for lane in ("High", "Normal", "Quarantine"))
    if lanes != int(values["MaxReplicas"]):
        raise DeployError(f"MaxReplicas is {values['MaxReplicas']} but the lanes' concurrency adds up to {lanes}")
    scaled = lanes - int(values["QuarantineConcurrency"])
    if int(values["MinReplicas"]) > scaled:
        raise DeployError(f"MinReplicas must be at most {scaled}, HighConcurrency and NormalConcurrency together")
    needed = math.ceil(lanes / 0.8)
    if values["ReserveConcurrency"] == "true" and int(values["ReservedConcurrency"]) < needed:
        raise DeployError(
            f"ReservedConcurrency must be at least {needed} (MaxReplicas / 0.8): with less, pollers push messages that "
            "find no environment towards the dead-letter queue"
        )


def check_settings(template: dict[str, Any], values: dict[str, str]) -> None:
    """Let the code read each function's settings as they would be.

    Raises:
        DeployError: a function would refuse its settings; the message names the parameters, not the variables.
    """
    for variables in environments(template, values).values():
        try:
            settings.read(variables)
        except SettingError as error:
            raise DeployError(_in_parameters(template, error.message)) from error


def _check_prices(template: dict[str, Any], values: dict[str, str]) -> None:
    """Let the code read the operator's prices, without which it would refuse every request."""
    try:
        wrong = unpriced(template, values)
    except SettingError as error:
        raise DeployError(_in_parameters(template, error.message).replace("PRICES", "Prices")) from error
    for text in wrong:
        if text.startswith("DefaultModel "):  # fallbacks without a price are passed over
            raise DeployError(text)


def unpriced(template: dict[str, Any], values: dict[str, str]) -> list[str]:
    """Say which models that a deployment names itself would be refused, since nobody priced them.

    Raises:
        SettingError: what the operator says of models cannot be read.
    """
    named = {"DefaultModel": [values["DefaultModel"]], "FallbackModels": values["FallbackModels"].split(",")}
    with _as_deployed(environments(template, values)["ApiFunction"]):
        for model in named["DefaultModel"]:
            models.known(model), models.context_tokens(model)
        return [
            f"{parameter} is {model}, which has no price: give it one (Prices), or set AllowUnpricedModels=true"
            for parameter, names in named.items()
            for model in (name.strip() for name in names)
            if model and not models.is_allowed(model)
        ]


@contextmanager
def _as_deployed(variables: dict[str, str]) -> Iterator[None]:
    """Let the code see the settings of a function as they would be."""
    before = dict(os.environ)
    os.environ.update(variables)
    settings.settings.cache_clear()
    models.forget()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        settings.settings.cache_clear()
        models.forget()


def environments(template: dict[str, Any], values: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return each function's environment as far as parameters decide it: what resources give is left out."""
    shared_by_all = template.get("Globals", {}).get("Function", {}).get("Environment", {}).get("Variables", {})
    found = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            own = resource["Properties"].get("Environment", {}).get("Variables", {})
            found[name] = {
                variable: values[value["Ref"]]
                for variable, value in (shared_by_all | own).items()
                if isinstance(value, dict) and value.get("Ref") in values
            }
    return found


def _in_parameters(template: dict[str, Any], text: str) -> str:
    """Write parameters' names for variables' names."""

    def named(found: re.Match[str]) -> str:
        parameter = "".join(word.capitalize() for word in found[0].split("_"))
        return parameter if parameter in template["Parameters"] else found[0]

    return re.sub(r"[A-Z0-9]+(_[A-Za-z0-9]+)+", named, text)
