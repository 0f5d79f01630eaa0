"""Applies a tenant's categories and scorecards to one call. Pure, except that comparing meanings takes time."""

from app.analysis.rules.call import Call
from app.analysis.rules.checking import Checker
from app.analysis.rules.definitions import Definitions
from app.analysis.rules.meaning import Meaning
from app.analysis.rules.results import CategoryResult, RuleResults, Verdict
from app.analysis.rules.scoring import applies, score


def apply(call: Call, definitions: Definitions, meaning: Meaning | None = None) -> RuleResults:
    """What the rules find. Without `meaning`, conditions that compare meanings are not known to hold."""
    checker = Checker(call, meaning)
    checked = {name: checker.category(category) for name, category in definitions.categories.items()}
    return RuleResults(
        categories=tuple(
            CategoryResult(name, one.verdict is Verdict.YES, one.matches)
            for name, one in checked.items()
            if one.verdict >= Verdict.NOT_SURE
        ),
        scores=tuple(
            score(call, name, card, checked) for name, card in definitions.scorecards.items() if applies(card, checked)
        ),
        trouble=checker.trouble,
    )
