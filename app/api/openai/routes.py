"""The routes that are shaped like OpenAI's: `/v1/audio/transcriptions`, `/v1/audio/translations` and `/v1/transcribe`.

A request becomes an ordinary job, and its connection waits for the end of the job. If the client repeats the request,
it gets the same job. Everything else about the job is at `/v1/transcriptions/{id}`.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from app.access.callers import Caller
from app.api.auth import MayTranscribe
from app.api.dependencies import ServiceDep
from app.api.event_streams import HEADERS, MEDIA_TYPE
from app.api.forms import FORM_BYTES, Form, read_form
from app.api.hang_ups import client_hangs_up
from app.api.media_types import FORM, announced_bytes, require_form
from app.api.openai import openapi
from app.api.openai.answers import Wanted, only_text, render
from app.api.openai.fields import Asked, in_openais_words, is_known, read_fields, without_shape
from app.api.openai.job_end import end_of, failure_at_end, patiently, require_room
from app.api.openai.streaming import events
from app.api.problems import render_failure
from app.errors import AppError, NotFound
from app.intake.ask import Stored
from app.intake.intake import Save
from app.jobs.changes import changing
from app.jobs.models import Transcription, audio_keys
from app.process.tasks import run_unless
from app.service import Service
from app.speech.endpoints import ONE_WINDOW
from app.transcripts.transcript import Task, Transcript

JOB_ID = "X-Callscribe-Id"
FILE = ("file",)

router = APIRouter(prefix="/v1", tags=["openai"])


@router.post(
    "/audio/transcriptions",
    summary="Transcribe as OpenAI does",
    response_class=Response,
    responses=openapi.TRANSCRIBED,
    openapi_extra=openapi.TRANSCRIBE,
)
async def create_audio_transcription(request: Request, caller: MayTranscribe, service: ServiceDep) -> Response:
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
    openapi_extra=openapi.TRANSCRIBE,
)
async def create_audio_translation(request: Request, caller: MayTranscribe, service: ServiceDep) -> Response:
    """Transcribes a recording into English, whatever its language. Otherwise it works as `/v1/audio/transcriptions`."""
    return await _answer(request, caller, service, "translate")


@router.post(
    "/transcribe",
    summary="Transcribe with the fewest fields",
    responses=openapi.TEXT_ONLY,
    openapi_extra=openapi.TRANSCRIBE_AUDIO,
)
async def transcribe_audio(request: Request, caller: MayTranscribe, service: ServiceDep) -> Response:
    """Transcribes the recording in the part `audio`, and answers `{"text": …}`.

    It is for scripts that post to such an address. It waits, and finds repeated requests, as
    `/v1/audio/transcriptions` does.
    """
    _, job = await _accept(request, caller, service, "transcribe", files=("audio", *FILE))
    return await _whole(request, caller, service, job, None)


async def _answer(request: Request, caller: Caller, service: Service, task: Task) -> Response:
    asked, job = await _accept(request, caller, service, task)
    wanted = asked.wanted
    if asked.streams:
        stream = events(service, job.id, caller, wanted)
        return StreamingResponse(stream, media_type=MEDIA_TYPE, headers={**HEADERS, JOB_ID: str(job.id)})
    return await _whole(request, caller, service, job, wanted)


async def _accept(
    request: Request, caller: Caller, service: Service, task: Task, *, files: Sequence[str] = FILE
) -> tuple[Asked, Transcription]:
    """Reads the form and makes a job of it, or finds the job of the request that it repeats."""
    intake = service.intake
    require_room(service, caller)
    require_form(request, files[0])
    most = intake.limits.upload_bytes
    announced = announced_bytes(request, FORM, most, most + FORM_BYTES)
    async with service.interest.during(intake.upload_of(caller, announced)):
        async with intake.receiving(caller, None, announced, is_awaited=True) as save:
            form = await _read_form(request, save, most + FORM_BYTES, files)
            fields = form.fields if files == FILE else without_shape(form.fields)
            is_one_window = request.headers.get(ONE_WINDOW) == "true"
            asked = read_fields(fields, intake.models, task, is_one_window=is_one_window)
        recording, abandoned = Stored(form.audio, form.filename), partial(client_hangs_up, request)
        with in_openais_words():
            accepted = await intake.accept(recording, asked.ask, caller, abandoned=abandoned, require=asked.require)
    request.state.job = str(accepted.job.id)  # for the request's log line
    return asked, accepted.job


async def _read_form(request: Request, save: Save, max_bytes: int, files: Sequence[str]) -> Form:
    return await read_form(
        request.stream(),
        request.headers["content-type"],
        save,
        is_field=is_known,
        max_bytes=max_bytes,
        files=files,
        ignores_others=True,
    )


async def _whole(
    request: Request, caller: Caller, service: Service, job: Transcription, wanted: Wanted | None
) -> Response:
    """Waits for the job's end, and answers as it is wanted, or with the text alone."""
    hang_up = partial(client_hangs_up, request)
    body = partial(_encoded, partial(render, wanted=wanted) if wanted else only_text)
    try:
        read = await end_of(service, job.id, caller, hang_up)
        failure = failure_at_end(read.job)
        if failure is None:
            read_body = partial(service.reader.shared_transcript, job.id, caller, wanted, body)
            content = await run_unless(hang_up(), patiently(service, read_body))
            answer = Response(content, media_type=wanted.format.media_type if wanted else "application/json")
        else:
            answer = render_failure(request, failure)
    except AppError as error:
        error.headers[JOB_ID] = str(job.id)
        raise
    finally:
        if job.options.get("is_one_window"):
            await _erase(service, job, caller)
    answer.headers[JOB_ID] = str(job.id)
    return answer


async def _erase(service: Service, job: Transcription, caller: Caller) -> None:
    """Erases a window of a call that another Callscribe keeps, so that what was said is not kept twice.

    That also holds if the other service has hung up, because it sends the window again.
    """
    with suppress(NotFound):  # its sender has repeated the request, and the other answer has erased it
        async with service.database.transaction() as session:
            erased = await changing.erase(session, job.id, caller)
        await service.parts.retention.erase_audio(erased.id, audio_keys(erased))


def _encoded(body: Callable[[Transcript], str], transcript: Transcript) -> bytes:
    return body(transcript).encode()
