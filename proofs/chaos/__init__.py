"""Breaks parts of a running service and counts what that does to jobs. Run by hand; the tests run short forms."""
