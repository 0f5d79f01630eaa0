"""Decodes recordings that are broken at random, as if they were uploads: `make fuzz`."""
