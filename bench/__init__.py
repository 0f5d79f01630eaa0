"""Measurements, run by hand: `python -m bench.accuracy`, `python -m bench.under_load`."""
