"""Decides what a number is: by what announced it, then by its length and its checksum. Pure.

A checksum never decides whether a number is private, because models write spoken digits twice or leave some out.
"""

from collections.abc import Set
from dataclasses import dataclass

from stdnum import luhn

from app.privacy.cues import Cue
from app.privacy.numbers import Run
from app.transcripts.entities import Entity

LONG = 7
"""A number of so many digits is private, whatever was said before it."""
# How many characters a number has that was announced. The models write some digits twice, or leave one out.
ANNOUNCED = {
    Entity.CREDIT_DEBIT_NUMBER: range(4, 30),
    Entity.CREDIT_DEBIT_CVV: range(2, 6),
    Entity.PIN: range(3, 10),
    Entity.BANK_ACCOUNT_NUMBER: range(4, 45),
    Entity.PHONE: range(5, 20),
    Entity.ID_NUMBER: range(3, 30),
    Entity.NUMBER: range(4, 45),
}
# What a long number may be that nothing announced, the likeliest first.
UNANNOUNCED = (
    (Entity.CREDIT_DEBIT_NUMBER, range(13, 24)),
    (Entity.PHONE, range(LONG, 16)),
    (Entity.BANK_ACCOUNT_NUMBER, range(LONG, 45)),
    (Entity.ID_NUMBER, range(LONG, 30)),
)
IBAN_CHARACTERS = 15


@dataclass(frozen=True)
class Named:
    entity: Entity
    is_announced: bool


def may_be(run: Run) -> set[Entity]:
    """What the number may be if it was announced."""
    return {entity for entity, lengths in ANNOUNCED.items() if run.characters in lengths}


def named(run: Run, cue: Cue | None) -> Named | None:
    """What the number is, or None if it is not private. `cue` announces one of those that it may be."""
    if cue is not None:
        return Named(cue.entity, True)
    if (len(run.digits) < LONG and not run.is_read_out) or run.is_years or run.is_counting:
        return None
    return Named(_by_form(run), False)


def _by_form(run: Run) -> Entity:
    if run.parts[0].letters and run.characters >= IBAN_CHARACTERS:
        return Entity.BANK_ACCOUNT_NUMBER
    if len(run.digits) in range(12, 20) and luhn.is_valid(run.digits):
        return Entity.CREDIT_DEBIT_NUMBER
    if run.digits[0] == "0" and len(run.digits) in range(9, 13):
        return Entity.PHONE
    return Entity.NUMBER


def wanted_name(run: Run, name: Named, wanted: Set[Entity]) -> Entity | None:
    """The name under which the number is redacted, or None if nobody wants it redacted.

    A number that nothing announced may be any that is as long, so it goes if one of these is wanted.
    """
    if name.entity in wanted:
        return name.entity
    if (len(run.digits) >= LONG or run.is_read_out) and Entity.NUMBER in wanted:
        return Entity.NUMBER
    if name.is_announced:
        return None
    return next((each for each, lengths in UNANNOUNCED if each in wanted and len(run.digits) in lengths), None)
