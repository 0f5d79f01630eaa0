"""Uses the Python client that openapi-generator makes."""

import json
import sys
from io import TextIOWrapper

import openapi_client as callscribe

FORMS = ("json", "verbose_json", "diarized_json")

url, recording = sys.argv[1:]
with callscribe.ApiClient(callscribe.Configuration(host=url)) as client:
    calls, webhooks = callscribe.TranscriptionsApi(client), callscribe.WebhooksApi(client)
    created = calls.create_transcription(
        recording,
        channels="split",
        channel_labels=["agent", "customer"],
        word_timestamps=True,
        metadata='{"queue": "orders"}',
        webhook_url=["https://crm.example/a,b", "https://crm.example/c"],
    )
    job = calls.read_transcription(created.id, wait=50)
    transcript = calls.read_transcript(job.id).actual_instance
    deliveries = webhooks.list_deliveries(job.id).items
    listed = calls.list_transcriptions(status=[callscribe.Status.COMPLETED]).items
    from_url = calls.create_transcription_from_url(callscribe.CreateFromUrl(url="https://recordings.example.com/1.wav"))
    calls.delete_transcription(from_url.id)
    try:
        calls.read_transcription(from_url.id)
    except callscribe.ApiException as error:
        missing = json.loads(error.body)["code"]
    openai = callscribe.OpenaiApi(client)
    options = {"channels": "split", "timestamp_granularities": ["word", "segment"], "language": "en"}
    answers = {form: openai.create_audio_transcription(recording, response_format=form, **options) for form in FORMS}
    srt = openai.create_audio_transcription_without_preload_content(recording, response_format="srt", **options)
    stream = openai.create_audio_transcription_without_preload_content(
        recording, response_format="diarized_json", stream=True, **options
    )
    lines = TextIOWrapper(stream, "utf-8")
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    print(
        json.dumps(
            {
                "created": created.status,
                "started_at": created.started_at,
                "ended": job.status,
                "completed_at": job.completed_at.isoformat(),
                "labels": job.options.channel_labels,
                "metadata": job.metadata,
                "text": transcript.text,
                "first_word": transcript.segments[0].words[0].word,
                "deliveries": sorted(delivery.url for delivery in deliveries),
                "redelivered": webhooks.redeliver(deliveries[0].id).status,
                "listed": job.id in [each.id for each in listed],
                "missing": missing,
                "answers": {form: answer.to_dict() for form, answer in answers.items()},
                "srt": srt.data.decode(),
                "events": [callscribe.OpenAIEvent.from_json(event).to_dict() for event in events],
            }
        )
    )
