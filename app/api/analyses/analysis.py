"""The routes `/v1/transcriptions/{id}/analysis` and `…/analyse`: read an analysis, or ask for one."""

from fastapi import APIRouter, Response

from app.analysis.models import AnalysisStatus
from app.analysis.views import AnalysisOut
from app.api.analyses import examples
from app.api.auth import MayRead, MayTranscribe
from app.api.dependencies import AnalysesDep, RootPathDep
from app.api.problems import COMMON_ERRORS, responses
from app.api.transcriptions import TranscriptionId
from app.errors import NotCompleted, NotFound, NothingToAnalyse

RETRY_AFTER_SECONDS = 5
WAITING = {AnalysisStatus.PENDING, AnalysisStatus.IN_PROGRESS}

router = APIRouter(prefix="/v1/transcriptions", tags=["analyses"])


@router.get(
    "/{transcription_id}/analysis",
    response_model=AnalysisOut,
    summary="Read the analysis",
    responses={200: examples.READ, **responses(*COMMON_ERRORS, NotFound, NotCompleted)},
)
async def read_analysis(
    transcription_id: TranscriptionId, response: Response, caller: MayRead, analyses: AnalysesDep
) -> AnalysisOut:
    """Returns what was found out about a call: by rules, and by the language model that the operator has set up.

    The event `analysis.completed` or `analysis.failed` tells your webhooks when to read it.
    """
    shown = await analyses.read(transcription_id, caller)
    if shown.status in WAITING:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return shown


@router.post(
    "/{transcription_id}/analyse",
    status_code=202,
    response_model=AnalysisOut,
    summary="Analyse a call",
    responses={202: examples.ASKED, **responses(*COMMON_ERRORS, NotFound, NotCompleted, NothingToAnalyse)},
)
async def analyse_transcription(
    transcription_id: TranscriptionId,
    response: Response,
    caller: MayTranscribe,
    analyses: AnalysesDep,
    root_path: RootPathDep,
) -> AnalysisOut:
    """Analyses a completed transcription, or analyses it again with the rules, prompts and model of today.

    The results of an earlier analysis stay until there are new ones. An analysis that waits for its next attempt is
    made due now. If one runs already, nothing new is queued.
    """
    shown = await analyses.ask(transcription_id, caller)
    response.headers["Location"] = f"{root_path}/v1/transcriptions/{transcription_id}/analysis"
    return shown
