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


# Whisper needs less than half a token for a Latin letter, in most languages.
LATIN_TOKENS_PER_CHARACTER = 0.45

# "Good morning, how can I help you?" or a similar sentence in the languages whose letters need more tokens. A model's
# tokenizer shows by it how many tokens the model needs for a character. Languages that share a script share a sentence.
_SENTENCES = """
am|እንደምን አደሩ እንዴት ልርዳዎት እችላለሁ
ar fa ps sd ur|صباح الخير كيف يمكنني مساعدتك
as bn|সুপ্রভাত আমি আপনাকে কীভাবে সাহায্য করতে পারি
ba kk mn tg tt|Қайырлы таң мен сізге қалай көмектесе аламын
bo|བཀྲ་ཤིས་བདེ་ལེགས་ཁྱེད་ལ་རོགས་པ་བྱེད་ཆོག་གམ
el|Καλημέρα πώς μπορώ να σας βοηθήσω
gu|સુપ્રભાત હું તમને કેવી રીતે મદદ કરી શકું
he yi|בוקר טוב איך אפשר לעזור לך
hi mr ne sa|नमस्ते मैं आपकी क्या सहायता कर सकता हूँ
hy|Բարի լույս ինչպես կարող եմ օգնել ձեզ
ja|おはようございますどのようなご用件でしょうか
ka|დილა მშვიდობისა რით შემიძლია დაგეხმაროთ
km|អរុណសួស្តីតើខ្ញុំអាចជួយអ្វីបាន
kn|ಶುಭೋದಯ ನಾನು ನಿಮಗೆ ಹೇಗೆ ಸಹಾಯ ಮಾಡಬಹುದು
ko|안녕하세요 무엇을 도와 드릴까요
lo|ສະບາຍດີຂ້ອຍຊ່ວຍຫຍັງເຈົ້າໄດ້
ml|സുപ്രഭാതം ഞാൻ നിങ്ങളെ എങ്ങനെ സഹായിക്കും
my|မင်္ဂလာပါ ဘာကူညီပေးရမလဲ
pa|ਸਤ ਸ੍ਰੀ ਅਕਾਲ ਮੈਂ ਤੁਹਾਡੀ ਕਿਵੇਂ ਮਦਦ ਕਰ ਸਕਦਾ ਹਾਂ
si|සුභ උදෑසනක් මම ඔබට කෙසේ උදව් කළ හැකිද
ta|காலை வணக்கம் நான் உங்களுக்கு எப்படி உதவ முடியும்
te|శుభోదయం నేను మీకు ఎలా సహాయం చేయగలను
th|สวัสดีครับผมจะช่วยคุณได้อย่างไร
yo|Ẹ káàárọ̀ báwo ni mo ṣe lè ràn yín lọ́wọ́
yue zh|早上好請問有什麼可以幫到您
"""
SENTENCES = {
    code: sentence
    for codes, sentence in (row.split("|") for row in _SENTENCES.strip().splitlines())
    for code in codes.split()
}
