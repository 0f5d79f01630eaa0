"""The routes that are shaped like OpenAI's: `/v1/audio/transcriptions`, `/v1/audio/translations` and `/v1/transcribe`.

A request becomes an ordinary job, and its connection waits for the end of the job. If the client repeats the request,
it gets the same job. Everything else about the job is at `/v1/transcriptions/{id}`.
"""

from collections.abc import Callable, Sequence
from functools import partial

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from app.api.auth import CallerDep
from app.api.dependencies import ServiceDep
from app.api.forms import FORM_BYTES, read_form
from app.api.hang_ups import client_hangs_up
from app.api.media_types import FORM, announced_bytes, require_form
from app.api.openai import openapi
from app.api.openai.answers import only_text, render
from app.api.openai.fields import Asked, in_openais_words, is_known, read_fields
from app.api.openai.streaming import HEADERS, MEDIA_TYPE, events
from app.api.openai.waiting import end_of, failure_at_end, require_room
from app.api.problems import render_failure
from app.callers import Caller
from app.intake.ask import Stored
from app.jobs.models import Transcription
from app.service import Service
from app.transcripts.transcript import Task, Transcript

JOB_ID = "X-Callscribe-Id"

router = APIRouter(prefix="/v1", tags=["openai"])


@router.post(
    "/audio/transcriptions",
    summary="Transcribe as OpenAI does",
    response_class=Response,
    responses=openapi.TRANSCRIBED,
    openapi_extra=openapi.TRANSCRIBE,
)
async def create_audio_transcription(request: Request, caller: CallerDep, service: ServiceDep) -> Response:
    """Transcribes a recording and answers with its text, for clients of OpenAI's API.

    The request waits until the transcription is completed. If you repeat it within ten minutes, you get the same
    transcription. The header `X-Callscribe-Id` of the answer is the id of the transcription.
    """
    return await _answer(request, caller, service, "transcribe")


@router.post(
    "/audio/translations",
    summary="Translate as OpenAI does",
    response_class=Response,
    responses=openapi.TRANSCRIBED,
    openapi_extra=openapi.TRANSLATE,
)
async def create_audio_translation(request: Request, caller: CallerDep, service: ServiceDep) -> Response:
    """Transcribes a recording into English, whatever its language. Otherwise it works as `/v1/audio/transcriptions`."""
    return await _answer(request, caller, service, "translate")


@router.post(
    "/transcribe",
    summary="Transcribe with the fewest fields",
    responses=openapi.TEXT_ONLY,
    openapi_extra=openapi.TRANSCRIBE_AUDIO,
)
async def transcribe_audio(request: Request, caller: CallerDep, service: ServiceDep) -> Response:
    """Transcribes the recording in the part `audio`, and answers `{"text": …}`.

    It is for scripts that post to such an address. It waits, and finds repeated requests, as
    `/v1/audio/transcriptions` does.
    """
    _, job = await _accept(request, caller, service, "transcribe", files=("audio", "file"))
    return await _whole(request, caller, service, job, "application/json", only_text)


async def _answer(request: Request, caller: Caller, service: Service, task: Task) -> Response:
    asked, job = await _accept(request, caller, service, task)
    wanted = asked.wanted
    if asked.streams:
        stream = events(service, job.id, caller, wanted)
        return StreamingResponse(stream, media_type=MEDIA_TYPE, headers={**HEADERS, JOB_ID: str(job.id)})
    body = partial(render, wanted=wanted)
    return await _whole(request, caller, service, job, wanted.format.media_type, body)


async def _accept(
    request: Request, caller: Caller, service: Service, task: Task, *, files: Sequence[str] = ("file",)
) -> tuple[Asked, Transcription]:
    """Reads the form and makes a job of it, or finds the job of the request that it repeats."""
    intake = service.intake
    require_room(service, caller)
    require_form(request, files[0])
    most = intake.limits.upload_bytes
    announced = announced_bytes(request, FORM, most, most + FORM_BYTES)
    async with intake.receiving(caller, None, announced, is_awaited=True) as save:
        form = await read_form(
            request.stream(),
            request.headers["content-type"],
            save,
            is_field=is_known,
            max_bytes=most + FORM_BYTES,
            files=files,
            ignores=lambda name: not is_known(name),
        )
        asked = read_fields(form.fields, intake.models, task)
    with in_openais_words():
        accepted = await intake.accept(
            Stored(form.audio, form.filename),
            asked.ask,
            caller,
            abandoned=partial(client_hangs_up, request),
            require=asked.require,
        )
    request.state.job = str(accepted.job.id)  # for the request's log line
    return asked, accepted.job


async def _whole(
    request: Request,
    caller: Caller,
    service: Service,
    job: Transcription,
    media_type: str,
    body: Callable[[Transcript], str],
) -> Response:
    """Waits for the job's end and answers with what `body` makes of the transcript."""
    read = await end_of(service, job.id, caller, partial(client_hangs_up, request))
    failure = await failure_at_end(service, read)
    if failure is None:
        content = await service.reader.transcript(job.id, caller, body)
        answer = Response(content, media_type=media_type)
    else:
        answer = render_failure(request, failure)
    answer.headers[JOB_ID] = str(job.id)
    return answer
