"""`make key`: create, list, rotate and revoke API keys. A key is shown once."""

from __future__ import annotations

import argparse
import json

from deploy.nearby import LocalError
from shared import webhooks
from shared.errors import SluiceError
from shared.limits import keys, tiers


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Describe the sub-commands."""
    parser.add_argument("--json", action="store_true")
    either = argparse.ArgumentParser(add_help=False)  # before the action or behind it
    either.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", parents=[either])
    create.add_argument("user")
    create.add_argument("--tier", default="standard", help="free, standard, vip, service, load or operator")
    create.add_argument("--name", default="")
    create.add_argument("--limits", default="{}", help='overrides as JSON: {"requests": 5}')
    actions.add_parser("list", parents=[either])
    actions.add_parser("alert-secret", parents=[either], help="show the secret that signs the operator's alerts")
    of_one = {
        "rotate": "make another key of the same user, tier and limits",
        "secret": "show the webhook secret of a key",
        "revoke": "let a key work no longer",
    }
    for name, what in of_one.items():
        one = actions.add_parser(name, parents=[either], help=what)
        one.add_argument("key", help="the key, its shown prefix or its id")
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
            _show(key, asked.json)
        elif asked.action == "rotate":
            key = keys.rotate(asked.key)
            _show(key, asked.json)
            if not asked.json:
                print("the old key works until it is revoked; webhooks of its tasks keep its secret")
        elif asked.action == "secret":
            _show_secret(keys.named(asked.key).key_hash[:16], asked.json)
        elif asked.action == "alert-secret":
            _show_secret(webhooks.OPERATOR, asked.json)
        elif asked.action == "revoke":
            info = keys.revoke(asked.key)
            if asked.json:
                print(json.dumps({"revoked": info.key_prefix, "user": info.user}))
                return
            print(f"revoked {info.key_prefix}… of {info.user}; it stops working within {keys.CACHE_S:.0f} s")
        else:
            for info in keys.list_keys():
                state = "revoked" if info.revoked else info.tier
                overrides = json.dumps(info.limits)
                if asked.json:
                    about = {"key_prefix": info.key_prefix, "user": info.user, "tier": info.tier}
                    about |= {"revoked": info.revoked, "created": info.created, "name": info.name}
                    print(json.dumps({**about, "limits": info.limits}))
                    continue
                print(f"{info.key_prefix}…  {info.user:<16} {state:<10} {info.created}  {info.name}  {overrides}")
    except SluiceError as error:
        hint = f" (tiers: {', '.join(tiers.names())})" if error.param == "tier" else ""
        raise LocalError(error.message + hint) from error


def _show(key: str, as_json: bool) -> None:
    secret = webhooks.secret_for(keys.key_id(key))
    if as_json:
        print(json.dumps({"key": key, "webhook_secret": secret}))
        return
    print(f"{key}\nwebhook secret: {secret or 'none, WEBHOOK_SECRET is not known here'}")


def _show_secret(whose: str, as_json: bool) -> None:
    secret = webhooks.secret_for(whose)
    print(json.dumps({"webhook_secret": secret}) if as_json else secret or "none, WEBHOOK_SECRET is not known here")
