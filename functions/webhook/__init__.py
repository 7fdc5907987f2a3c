"""Delivers webhooks: signed, retried for a day, never to a private address."""
