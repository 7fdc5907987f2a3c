"""Turns dead messages into failed tasks, so that nobody polls for ever."""
