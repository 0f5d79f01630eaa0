"""Callscribe: phone-call recordings into text."""

__version__ = "0.1.0"
