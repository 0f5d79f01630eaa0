"""What a Whisper model can do, as its name shows, so that requests can be judged before it is loaded; pure."""

from pathlib import Path

# The languages of OpenAI's multilingual models, without large-v3's Cantonese (whisper/tokenizer.py, LANGUAGES).
MULTILINGUAL = tuple(
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id"
    " is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd"
    " si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh".split()
)
NOT_TRANSLATING = ("turbo", "distil")


def languages(model: str) -> tuple[str, ...]:
    """The ISO 639-1 codes that a model knows. The name of an English-only model ends in `.en`."""
    if Path(model).name.partition("@")[0].endswith(".en"):
        return ("en",)
    return (*MULTILINGUAL, "yue") if "large-v3" in model or "turbo" in model else MULTILINGUAL


def translates(model: str) -> bool:
    """Whether a model was trained to translate to English. Others transcribe even if they are asked to translate."""
    name = Path(model).name
    return len(languages(model)) > 1 and not any(kind in name for kind in NOT_TRANSLATING)
