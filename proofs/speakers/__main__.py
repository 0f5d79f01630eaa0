"""Measures how well several speakers on one track are told apart, on recordings of which it is known who speaks when.

A row for each recording. `DER` is the diarization error rate with a collar of 0.25 s. Speech without a name counts as
missed in it; `of named` leaves that speech out. Ends with exit code 1 if a floor is not kept.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from app.speech.speakers.voices import MOST_SPEAKERS, VoiceModels
from proofs.speakers.calls import Recording, composed, rttm, runs_of, sample_call, single, stereo_call
from proofs.speakers.scoring import score
from proofs.speakers.talking import speaker

MOST_ERROR, MOST_WRONG, MOST_PROCESSOR = 0.12, 0.03, 4.0
A, G, N, T, M = "jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo"


def recordings(folder: Path, arguments: argparse.Namespace) -> Iterator[Recording]:
    yield sample_call(folder / "sample")
    if arguments.call:
        yield stereo_call(arguments.call, folder / "call")
        yield from single(arguments.call, folder / "single")
    if arguments.rttm:
        yield rttm(arguments.rttm, folder / "rttm")
    if arguments.voices:
        yield from _spoken(folder / "voices", arguments.voices)


def _spoken(folder: Path, voices: Path) -> Iterator[Recording]:
    speak = cache(speaker(voices))
    yield composed("woman and man", folder, speak, (A, M))
    for one, other in ((A, G), (A, N), (A, T), (G, T), (N, T), (G, N)):
        yield composed(f"{one} and {other}", folder, speak, (one, other))
    yield composed(f"{G} and {N}, speakers=2", folder, speak, (G, N), exact=2)
    yield composed("woman and man interrupt each other", folder, speak, (A, M), gap=-0.5)
    yield composed("two women interrupt each other", folder, speak, (A, G), gap=-0.5)
    yield composed("a faint man", folder, speak, (G, M), loudness=(1, 0.3))
    yield composed("two women in noise", folder, speak, (A, N), noise=0.012)
    yield composed("two women and a man, speakers=3", folder, speak, (A, M, G), exact=3)
    yield composed("three women, speakers=3", folder, speak, (A, N, T), exact=3)
    for voice in (A, G, N, T, M):
        yield composed(f"{voice} alone", folder, speak, (voice,))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proofs.speakers", description=__doc__)
    parser.add_argument("--call", type=Path, help="a call with one speaker on each channel")
    parser.add_argument("--rttm", type=Path, help="a recording with a file .rttm beside it that says who speaks when")
    parser.add_argument(
        "--voices", type=Path, help="the folder with the packages that proofs/speakers/talking.py names"
    )
    models, kept = VoiceModels.load(), True
    with TemporaryDirectory() as folder:
        print("| recording | seconds | speakers | found | DER | of named | unnamed | wrong names | processor s/min |")
        print("|---|---|---|---|---|---|---|---|---|")
        for each in recordings(Path(folder), parser.parse_args()):
            runs, begun = runs_of(each.pcm), time.process_time()
            turns = models.separate(each.pcm, runs, MOST_SPEAKERS, each.exact)
            cost = 60 * (time.process_time() - begun) / each.pcm.duration_seconds
            found = score(each.truth, turns, each.pcm.duration_seconds)
            shares = (found.error, found.error_of_named, found.unnamed, found.wrong_names)
            print(
                f"| {each.name} | {each.pcm.duration_seconds:.0f} | {each.speakers} | {found.speakers} |",
                *(f"{share:.1%} |" for share in shares),
                f"{cost:.1f} |",
                flush=True,
            )
            kept &= found.error <= MOST_ERROR and found.wrong_names <= MOST_WRONG and cost <= MOST_PROCESSOR
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
