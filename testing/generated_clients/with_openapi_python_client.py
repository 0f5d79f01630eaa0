"""Uses the client that openapi-python-client makes."""

import json
import sys
from pathlib import Path

from callscribe_client import Client, models
from callscribe_client.api.openai import create_audio_transcription
from callscribe_client.api.transcriptions import (
    create_transcription,
    create_transcription_from_url,
    delete_transcription,
    list_transcriptions,
    read_transcript,
    read_transcription,
)
from callscribe_client.api.webhooks import list_deliveries, redeliver
from callscribe_client.types import File

FORMS = ("json", "verbose_json", "diarized_json")


def openai_form(response_format: str, **fields: bool) -> models.CreateAudioTranscriptionBody:
    return models.CreateAudioTranscriptionBody(
        file=File(recording.open("rb"), recording.name),
        channels=models.CreateAudioTranscriptionBodyChannels.SPLIT,
        language="en",
        response_format=models.CreateAudioTranscriptionBodyResponseFormat(response_format),
        timestamp_granularities=list(models.CreateAudioTranscriptionBodyTimestampGranularitiesItem),
        **fields,
    )


url, recording = sys.argv[1], Path(sys.argv[2])
with Client(base_url=url, timeout=70) as client, recording.open("rb") as file:
    form = models.CreateFromFile(
        file=File(file, recording.name),
        channels=models.CreateFromFileChannels.SPLIT,
        channel_labels=["agent", "customer"],
        word_timestamps=True,
        metadata='{"queue": "orders"}',
        webhook_url=["https://crm.example/a,b", "https://crm.example/c"],
    )
    created = create_transcription.sync(client=client, body=form)
    job = read_transcription.sync(created.id, client=client, wait=50)
    transcript = read_transcript.sync(job.id, client=client)
    deliveries = list_deliveries.sync(job.id, client=client).items
    listed = list_transcriptions.sync(client=client, status=[models.Status.COMPLETED]).items
    body = models.CreateFromUrl(url="https://recordings.example.com/1.wav")
    from_url = create_transcription_from_url.sync(client=client, body=body)
    delete_transcription.sync_detailed(from_url.id, client=client)
    answers = {form: create_audio_transcription.sync(client=client, body=openai_form(form)) for form in FORMS}
    srt = client.get_httpx_client().request(**create_audio_transcription._get_kwargs(body=openai_form("srt")))
    streaming = create_audio_transcription._get_kwargs(body=openai_form("diarized_json", stream=True))
    with client.get_httpx_client().stream(**streaming) as stream:
        events = [json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line.startswith("data: ")]
    print(
        json.dumps(
            {
                "created": created.status,
                "started_at": created.started_at,
                "ended": job.status,
                "completed_at": job.completed_at.isoformat(),
                "labels": job.options.channel_labels,
                "metadata": job.metadata.to_dict(),
                "text": transcript.text,
                "first_word": transcript.segments[0].words[0].word,
                "deliveries": sorted(delivery.url for delivery in deliveries),
                "redelivered": redeliver.sync(deliveries[0].id, client=client).status,
                "listed": job.id in [each.id for each in listed],
                "missing": read_transcription.sync(from_url.id, client=client).code,
                "answers": {form: answer.to_dict() for form, answer in answers.items()},
                "srt": srt.text,
                "events": [models.OpenAIEvent.from_dict(event).to_dict() for event in events],
            }
        )
    )
