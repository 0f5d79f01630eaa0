"""Measurements, run by hand: `make bench`, `python -m bench.accuracy`, `python -m bench.under_load`."""
