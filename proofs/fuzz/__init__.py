"""Recordings broken at random, put through the decoder as uploads are: `make fuzz`."""
