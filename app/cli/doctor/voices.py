"""Checks whether `diarize=true` can work: the models of voices are installed, their files are right, and they load."""

import time

from app.cli.doctor.findings import Finding, failed, fine
from app.cli.doctor.surroundings import Surroundings
from app.process.threads import in_daemon_thread
from app.speech.model import ModelUnavailable
from app.speech.speakers.voices import VoiceModels, installed


async def voices(at: Surroundings) -> list[Finding]:
    if not installed():
        return [fine("not installed, so `diarize=true` is refused (`make speakers` installs them)", installed=False)]
    began = time.monotonic()
    try:
        await in_daemon_thread(VoiceModels.load, "voices")
    except ModelUnavailable as error:
        return [failed(str(error), "run `make speakers` again")]
    seconds = time.monotonic() - began
    return [fine(f"the weights are right, and load in {seconds:.1f} s", installed=True, seconds=round(seconds, 2))]
