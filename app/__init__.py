"""Callscribe: phone-call recordings into text."""

import os

__version__ = "0.1.0"

# Before anything imports NumPy. Its OpenBLAS has threads that it ends at each fork and waits for, as we fork to decode,
# while our own threads are in the midst of a product: then both wait for ever. Our threads fill the cores anyway.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
