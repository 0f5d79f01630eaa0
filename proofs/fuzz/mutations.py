"""Breaks recordings at random. Each function is pure, because the random generator is an argument."""

from random import Random

HEADER_BYTES = 512
STRUCTURE_BYTES = 64
MAX_STEPS = 4
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def mutate(chance: Random, recording: bytes, other: bytes) -> bytes:
    """Applies one to four random steps. `splice` takes its pieces from `other`."""
    for _ in range(chance.randint(1, MAX_STEPS)):
        step = chance.choice((flip_bits, flip_bits, edit_header, edit_header, truncate, splice, repeat, blank))
        recording = step(chance, recording, other)
    return recording


def flip_bits(chance: Random, recording: bytes, other: bytes) -> bytes:
    changed = bytearray(recording)
    for _ in range(chance.choice((1, 4, 32, 256)) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def edit_header(chance: Random, recording: bytes, other: bytes) -> bytes:
    """Replaces a number near either end by an extreme one. Containers keep sizes, rates and counts there."""
    width = chance.choice((1, 2, 4, 8))
    value = (chance.choice(EDGES) % (1 << 8 * width)).to_bytes(width, chance.choice(("big", "little")))
    reach = min(chance.choice((STRUCTURE_BYTES, HEADER_BYTES)), len(recording))
    place = chance.randrange(reach + 1)
    if chance.random() < 0.2:
        place = len(recording) - place
    return recording[:place] + value + recording[place + width :]


def truncate(chance: Random, recording: bytes, other: bytes) -> bytes:
    return recording[: chance.randrange(len(recording) + 1)]


def splice(chance: Random, recording: bytes, other: bytes) -> bytes:
    """Inserts a piece of the other recording, or replaces a piece by it."""
    start = chance.randrange(len(other) + 1)
    piece = other[start : start + chance.choice((16, 256, 4096))]
    place = chance.randrange(len(recording) + 1)
    return recording[:place] + piece + recording[place + chance.choice((0, len(piece))) :]


def repeat(chance: Random, recording: bytes, other: bytes) -> bytes:
    start = chance.randrange(len(recording) + 1)
    piece = recording[start : start + chance.choice((4, 64, 1024))]
    return recording[:start] + piece * chance.randint(2, 20) + recording[start:]


def blank(chance: Random, recording: bytes, other: bytes) -> bytes:
    start = chance.randrange(len(recording) + 1)
    size = min(chance.choice((4, 64, 1024)), len(recording) - start)
    return recording[:start] + chance.choice((b"\0", b"\xff")) * size + recording[start + size :]
