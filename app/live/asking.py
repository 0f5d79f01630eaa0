"""What a client asks for a live call. A value without behaviour, which every dialect makes from its own words."""

from dataclasses import dataclass, replace

from app.audio.live_sound import Sound
from app.intake.ask import Ask

USUAL_SILENCE_MS = 500
USUAL_PARTIAL_MS = 1000


@dataclass(frozen=True, slots=True)
class NewCall:
    """A live call that is asked for: how its sound comes, and what is asked for its recording.

    An utterance ends after `silence_ms` without speech. While it grows, its text so far is sent about every
    `partial_ms`. `dialect` is a word for logs and metrics. `resume` names an interrupted call to go on with, and
    `can_resume` says that the client knows how to do that.
    """

    sound: Sound
    ask: Ask
    dialect: str
    silence_ms: int = USUAL_SILENCE_MS
    partial_ms: int = USUAL_PARTIAL_MS
    partials: bool = True
    resume: str | None = None
    can_resume: bool = False

    @property
    def ask_for_its_recording(self) -> Ask:
        """With two channels, the recording becomes a dialogue."""
        if self.sound.encoding == "container":
            return self.ask
        options = self.ask.options
        if self.sound.channels > 1:
            options = replace(options, channels="split")
        else:
            options = replace(options, channels="mix", channel_labels=options.channel_labels[:1])
        return replace(self.ask, options=options)
