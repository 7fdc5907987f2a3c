"""Alerts of budgets: who is told, once, that a day's spending has come to a part of its ceiling."""
