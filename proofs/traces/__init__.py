"""Shows one call's trace in a real collector: Arize Phoenix, which takes OTLP and is in Python's package index.

It is a proof and no test, because Phoenix takes 660 MB and needs a minute to start. The tests have a light collector.
"""
