"""What a Whisper model can do, as its name shows, so that requests can be judged before it is loaded; pure."""

from pathlib import Path

# Whisper's codes (whisper/tokenizer.py, LANGUAGES) of its multilingual models, without large-v3's Cantonese. They are
# those of ISO 639-1, but for `haw`, which has none there, and `jw`, which ISO has replaced by `jv`.
MULTILINGUAL = tuple(
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id"
    " is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd"
    " si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh".split()
)
NOT_TRANSLATING = ("turbo", "distil")


def languages(model: str) -> tuple[str, ...]:
    """The codes of the languages that a model knows. The name of an English-only model ends in `.en`."""
    name = Path(model).name.partition("@")[0]
    if name.endswith(".en"):
        return ("en",)
    knows_cantonese = name == "large" or "large-v3" in model or "turbo" in model  # `large` is large-v3
    return (*MULTILINGUAL, "yue") if knows_cantonese else MULTILINGUAL


def translates(model: str) -> bool:
    """Whether a model was trained to translate to English. Others transcribe even if they are asked to translate."""
    name = Path(model).name
    return len(languages(model)) > 1 and not any(kind in name for kind in NOT_TRANSLATING)
