"""Measurements, run by hand: `make bench`, `python -m proofs.bench.accuracy`, `python -m proofs.bench.under_load`."""
