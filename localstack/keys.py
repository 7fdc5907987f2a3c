"""`make key`: create, list and revoke API keys. A key is shown once."""

from __future__ import annotations

import argparse
import json

from localstack.environ import LocalError
from shared import webhooks
from shared.errors import SluiceError
from shared.limits import keys, tiers


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Describe the sub-commands."""
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create")
    create.add_argument("user")
    create.add_argument("--tier", default="standard", help="free, standard, vip, service, load or operator")
    create.add_argument("--name", default="")
    create.add_argument("--limits", default="{}", help='overrides as JSON: {"requests": 5}')
    actions.add_parser("list")
    actions.add_parser("revoke").add_argument("key", help="the key, its shown prefix or its id")
    return parser


def run(asked: argparse.Namespace) -> None:
    """Do what was asked.

    Raises:
        LocalError: it cannot be done; says why.
    """
    try:
        if asked.action == "create":
            try:
                limits = json.loads(asked.limits)
            except ValueError as error:
                raise LocalError(f"--limits is not JSON: {error}") from error
            key = keys.create_key(asked.user, asked.tier, asked.name, limits=limits)
            print(f"{key}\nwebhook secret: {webhooks.secret_for(keys.key_id(key))}")
        elif asked.action == "revoke":
            info = keys.revoke(asked.key)
            print(f"revoked {info.key_prefix}… of {info.user}; it stops working within {keys.CACHE_S:.0f} s")
        else:
            for info in keys.list_keys():
                state = "revoked" if info.revoked else info.tier
                overrides = json.dumps(info.limits)
                print(f"{info.key_prefix}…  {info.user:<16} {state:<10} {info.created}  {info.name}  {overrides}")
    except SluiceError as error:
        hint = f" (tiers: {', '.join(tiers.names())})" if error.param == "tier" else ""
        raise LocalError(error.message + hint) from error
