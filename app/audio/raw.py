"""Recordings without a header: what they hold, by the client's options or by the recording's name; pure.

Telephone systems write such files, and nothing in them says what they hold. A header inside a file wins over both,
because it knows better. `decoder/sections.py` looks for it.
"""

from dataclasses import dataclass

from app.transcripts.transcript import Encoding, Options

USUAL_RATE = 8_000
LOWEST_RATE, HIGHEST_RATE = 4_000, 192_000
FIXED_RATES: dict[Encoding, int] = {"gsm": 8_000, "g722": 16_000, "g723_1": 8_000, "g726": 8_000, "g729": 8_000}
"""The encodings that have only one sample rate."""


@dataclass(frozen=True, slots=True)
class RawSound:
    """One channel of this encoding, at `sample_rate` Hz."""

    encoding: Encoding
    sample_rate: int


def _named(encoding: Encoding, suffixes: str, sample_rate: int = USUAL_RATE) -> dict[str, RawSound]:
    return dict.fromkeys(suffixes.split(), RawSound(encoding, sample_rate))


# Asterisk's names say the rate of signed linear sound in kHz. `.raw` and `.pcm` are missing, because different
# programs write different encodings under these names.
SLN_RATES = {"": 8, "8": 8, "12": 12, "16": 16, "24": 24, "32": 32, "44": 44.1, "48": 48, "96": 96, "192": 192}
BY_SUFFIX: dict[str, RawSound] = {
    **_named("mulaw", "ulaw ul ulw mulaw mu pcmu"),
    **_named("alaw", "alaw al alw pcma"),
    **_named("gsm", "gsm"),
    **_named("g722", "g722", 16_000),
    **_named("g723_1", "g723 g723_1"),
    **_named("g726", "g726 g726-32"),
    **_named("g729", "g729"),
    **_named("vox", "vox"),
    **{
        f"{stem}{suffix}": RawSound("pcm_s16le", round(rate * 1000))
        for stem in ("sln", "slin")
        for suffix, rate in SLN_RATES.items()
    },
}


def raw_sound(options: Options, filename: str | None) -> RawSound | None:
    """Returns what the recording holds if it turns out to have no header, and None if nothing says it."""
    if options.encoding is not None:
        usual = FIXED_RATES.get(options.encoding, USUAL_RATE)
        return RawSound(options.encoding, options.sample_rate or usual)
    _, _, suffix = (filename or "").rpartition(".")
    return BY_SUFFIX.get(suffix.lower())


def rate_trouble(encoding: Encoding | None, sample_rate: int | None) -> str | None:
    """Returns why these two options do not go together, or None if they do."""
    if sample_rate is None:
        return None
    if encoding is None:
        return "needs the field encoding, because only a recording without a header has no rate of its own"
    fixed = FIXED_RATES.get(encoding, sample_rate)
    return None if fixed == sample_rate else f"must be {fixed} for {encoding}, or left out"
