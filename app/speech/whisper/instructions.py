"""Makes CTranslate2 use the best instructions of this machine's processor, so that operators need not set them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

INSTRUCTIONS = "CT2_FORCE_CPU_ISA"
AVX512 = frozenset({"avx512f", "avx512cd", "avx512vl", "avx512bw", "avx512dq"})


def best_instructions(environ: Mapping[str, str], flags: frozenset[str]) -> dict[str, str]:
    """The variables that make CTranslate2 use AVX-512, which it never uses by itself.

    Empty if the processor does not have AVX-512, or if the user has set the variable. `flags` are those of
    `/proc/cpuinfo`.
    """
    return {INSTRUCTIONS: "AVX512"} if flags >= AVX512 and INSTRUCTIONS not in environ else {}


@contextmanager
def chosen_instructions() -> Iterator[None]:
    """Sets the variables until the end of the block, in which CTranslate2 loads a model. So no child inherits them."""
    variables = best_instructions(os.environ, _flags())
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def _flags() -> frozenset[str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))
