"""Proves the path through an NVIDIA GPU, and measures it: `make gpu`, `make gpu-pack`. See docs/gpu.md."""
