"""Routes: the models that clients may ask for, in one answer for our clients and for those of OpenAI."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from app.api.auth import AnyKey
from app.api.dependencies import IntakeDep
from app.api.openai.names import model_named, names_of
from app.api.problems import COMMON_ERRORS, openai_responses, responses
from app.errors import ModelNotFound
from app.intake.model_names import ModelNames
from app.speech.speakers import voices

CREATED = 1_677_532_384
"""When OpenAI's model `whisper-1` was created, in seconds since 1970.

OpenAI's clients require the number, but the service does not know when a model was published. It is the same for all
models, so that it changes neither with a restart nor from one process to another. It is not 0, because some clients
take 0 for a missing value.
"""
OWNER = "callscribe"

router = APIRouter(prefix="/v1/models", tags=["operations"])


class OpenAIModel(BaseModel):
    """A name of a model, as OpenAI's clients read it."""

    id: str = Field(description="A name by which you can ask for the model.", examples=["base"])
    object: Literal["model"] = Field(description="Always `model`.", examples=["model"])
    created: int = Field(
        description="A number that OpenAI's clients require. It is the same for all models, because the service does "
        "not know when a model was published.",
        examples=[CREATED],
    )
    owned_by: str = Field(description="Always `callscribe`.", examples=[OWNER])


class ModelFacts(BaseModel):
    name: str = Field(description="The model's own name, which transcriptions show.", examples=["base"])
    default: bool = Field(description="Whether the service uses this model if a request names none.", examples=[True])
    languages: list[str] = Field(
        description="The ISO 639-1 codes of the languages that it knows.", examples=[["en", "es"]]
    )
    translates: bool = Field(description="Whether it can translate to English.", examples=[True])
    family: str = Field(
        description="What kind of model it is: `whisper`, `moonshine`, or `remote` for a model of another server.",
        examples=["whisper"],
    )
    abilities: list[Literal["translate", "words", "prompt", "speakers"]] = Field(
        description="What it can do besides writing what was said. `translate`: translate to English. `words`: give "
        "the times of words. `prompt`: read `prompt` and `hotwords`. `speakers`: tell speakers on one track apart with "
        "`diarize`, which is the same for all models. A request for anything else is refused.",
        examples=[["translate", "words", "prompt"]],
    )


class ModelOut(ModelFacts):
    """A model that you can choose for a transcription."""

    aliases: list[str] = Field(
        description="Other names that the operator gave to the model. You may use them wherever you name a model.",
        examples=[["qwen3-asr-1.7b"]],
    )


class NamedModel(ModelFacts, OpenAIModel):
    """What a name of a model means: the members that OpenAI's clients read, and the facts of the model."""

    alias_of: str | None = Field(
        description="The model of which `id` is another name. Null if `id` is the model's own name.", examples=[None]
    )


class ModelList(BaseModel):
    """The models in two lists: `items` for clients of this service, and `object` and `data` for those of OpenAI."""

    items: list[ModelOut] = Field(
        description="The served models. The first one is the default.",
        examples=[
            [
                {
                    "name": "base",
                    "default": True,
                    "languages": ["en", "es"],
                    "translates": True,
                    "family": "whisper",
                    "abilities": ["translate", "words", "prompt"],
                    "aliases": ["qwen3-asr-1.7b"],
                }
            ]
        ],
    )
    object: Literal["list"] = Field(description="Always `list`.", examples=["list"])
    data: list[OpenAIModel] = Field(
        description="All names: of the served models, then the operator's aliases, then those of OpenAI, such as "
        "`whisper-1`. A name of OpenAI means the default model, and only routes that are shaped like OpenAI's take it.",
        examples=[[{"id": "base", "object": "model", "created": CREATED, "owned_by": OWNER}]],
    )


@router.get("", summary="List the models", response_description="The models.", responses=responses(*COMMON_ERRORS))
async def list_models(intake: IntakeDep, caller: AnyKey) -> ModelList:
    """Lists the models that you can choose for a transcription, and all names by which you can ask for them.

    OpenAI's clients can read the answer too.
    """
    models = intake.models
    return ModelList(
        items=[ModelOut(**_facts(models, name), aliases=models.aliases_of(name)) for name in models.served],
        object="list",
        data=[OpenAIModel(**_as_openai(name)) for name in names_of(models)],
    )


@router.get(
    "/{model_id:path}",
    summary="Read a model",
    response_description="The model.",
    responses=openai_responses(*COMMON_ERRORS, ModelNotFound),
)
async def read_model(
    model_id: Annotated[str, Path(description="A name of a model. It may hold `/`, also as `%2F`.")],
    intake: IntakeDep,
    caller: AnyKey,
) -> NamedModel:
    """Says what a name of a model means: that of a served model, an alias, or one of OpenAI's names."""
    if not model_id:
        raise ModelNotFound("The path names no model. `GET /v1/models` lists the models.")
    model = model_named(intake.models, model_id)
    return NamedModel(
        **_as_openai(model_id), **_facts(intake.models, model), alias_of=None if model == model_id else model
    )


def _as_openai(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": OWNER}


def _facts(models: ModelNames, model: str) -> dict[str, Any]:
    able = models.abilities(model)
    return {
        "name": model,
        "default": model == models.default,
        "languages": list(able.languages),
        "translates": able.translates,
        "family": able.family,
        "abilities": [
            name
            for name, has in (
                ("translate", able.translates),
                ("words", able.words),
                ("prompt", able.prompt),
                ("speakers", voices.installed()),
            )
            if has
        ],
    }
