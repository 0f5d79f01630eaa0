"""Measures error rates on reference speech through the whole service, with default options and a detected language.

    .venv/bin/python -m proofs.bench.accuracy [RECORDING=TEXT …]

For most languages the rate counts words. For Chinese, Japanese and Hindi it counts characters, because spaces do not
separate their words.
"""

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import jiwer

from proofs.bench.scoring import BY_CHARACTER, normalizer
from testing.service import Service, serving
from testing.speech_samples import samples


def transcribe(service: Service, recording: Path) -> tuple[str, str]:
    """Returns the text and the detected language."""
    job = service.ended(service.create(recording.read_bytes()))
    assert job["status"] == "completed", job["error"]
    transcript = service.read(job["links"]["transcript"])
    return transcript["text"], transcript["language"]


def main() -> None:
    references: dict[str, list[str]] = defaultdict(list)
    heard: dict[str, list[str]] = defaultdict(list)
    detected: dict[str, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data") as service:
        arguments = [("en", Path(path), text) for path, _, text in (each.partition("=") for each in sys.argv[1:])]
        for language, path, text in [*arguments, *((s.language, s.path, s.text) for s in samples())]:
            said, found = transcribe(service, path)
            name = path.name if (language, path, text) in arguments else language
            clean = normalizer(language)
            references[name].append(clean(text))
            heard[name].append(clean(said))
            detected[name].append(found)
    for name, texts in references.items():
        unit = "characters" if name in BY_CHARACTER else "words"
        rate = jiwer.wer(texts, heard[name])
        print(f"{name:10} {rate:6.1%} of {sum(len(text.split()) for text in texts)} {unit}, heard as {detected[name]}")


if __name__ == "__main__":
    main()
