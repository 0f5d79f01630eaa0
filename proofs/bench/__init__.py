"""Measurements of speed, accuracy and memory. Run by hand: `make bench`, or a module that has a command line."""
