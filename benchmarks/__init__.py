"""Measurements, one command each; results land in ``benchmarks/results/``."""
