"""Tests of functions/dead_letter."""
