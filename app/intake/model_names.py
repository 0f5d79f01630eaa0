"""The names by which clients may ask for a model: those of the served models, and the operator's aliases.

An alias is another name of a served model. A job always stores the served model's own name, so that workers claim it
even if they have no aliases, and a later change of the aliases does not change the job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.speech.families import Families
from app.speech.model import Abilities


@dataclass(frozen=True)
class ModelNames:
    """`served` holds at least one name. `aliases` holds the served model of each alias."""

    served: Sequence[str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    families: Families = field(default_factory=Families)

    @property
    def default(self) -> str:
        return self.served[0]

    def resolve(self, name: str) -> str | None:
        """The served model that a client means, or None if there is none. An empty name means the default model."""
        if not name:
            return self.default
        return name if name in self.served else self.aliases.get(name)

    def abilities(self, model: str) -> Abilities:
        """What a served model can do."""
        return self.families.abilities(model)

    def aliases_of(self, model: str) -> list[str]:
        return [alias for alias, meant in self.aliases.items() if meant == model]

    def in_words(self) -> str:
        """All names, for an error about an unknown one, such as `base, small; or an alias: whisper-large, fast`."""
        served = ", ".join(self.served)
        return f"{served}; or an alias: {', '.join(self.aliases)}" if self.aliases else served
