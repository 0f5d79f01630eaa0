"""What clients call a language → the code by which the service knows it, for every way in. Pure.

CRMs and telephone systems have tags such as `en-US` (BCP 47) or `pt_BR`, codes of ISO 639-2 and 639-3 such as `eng`,
and Whisper's command line takes names such as `English`. Whether a model knows the language is decided elsewhere.
"""

import re

AUTO = "auto"
EXPECTED = "must be auto, or a language such as en, en-US, eng or English; GET /v1/models lists the languages"
EXPECTED_CANDIDATE = (
    "must be a language such as en, en-US, eng or English, and not auto; GET /v1/models lists the languages"
)
# A tag or a locale: a code, then parts that name a script, a region or a charset, as in `zh-Hans-CN` and `de_DE.UTF-8`.
_TAG = re.compile(r"([a-z]{2,3})(?:[-_.@][a-z0-9]+)*", re.ASCII)
# Each language: its code here, then its codes in ISO 639-2 and 639-3 and outdated ones, then its names in Whisper. The
# first name is the one that Whisper itself writes.
_LANGUAGES = """
af afr afrikaans|am amh amharic|ar ara arb arabic|as asm assamese|az aze azj azerbaijani|ba bak bashkir
be bel belarusian|bg bul bulgarian|bn ben bengali bangla|bo bod tib tibetan|br bre breton|bs bos bosnian
ca cat catalan valencian|cs ces cze czech|cy cym wel welsh|da dan danish|de deu ger german|el ell gre greek
en eng english|es spa spanish castilian|et est ekk estonian|eu eus baq basque|fa fas per pes persian farsi
fi fin finnish|fo fao faroese|fr fra fre french|gl glg galician|gu guj gujarati|ha hau hausa|haw hawaiian
he heb iw hebrew|hi hin hindi|hr hrv croatian|ht hat haitian_creole haitian|hu hun hungarian|hy hye arm armenian
id ind in indonesian|is isl ice icelandic|it ita italian|ja jpn japanese|jw jv jav javanese|ka kat geo georgian
kk kaz kazakh|km khm khmer|kn kan kannada|ko kor korean|la lat latin|lb ltz luxembourgish letzeburgesch|ln lin lingala
lo lao|lt lit lithuanian|lv lav lvs latvian|mg mlg malagasy|mi mri mao maori|mk mkd mac macedonian|ml mal malayalam
mn mon khk mongolian|mr mar marathi|ms msa may zsm malay|mt mlt maltese|my mya bur myanmar burmese|ne nep npi nepali
nl nld dut dutch flemish|nn nno nynorsk|no nor nb nob norwegian bokmal bokmål|oc oci occitan|pa pan punjabi panjabi
pl pol polish|ps pus pashto pushto|pt por portuguese|ro ron rum mo romanian moldavian moldovan|ru rus russian
sa san sanskrit|sd snd sindhi|si sin sinhala sinhalese|sk slk slo slovak|sl slv slovenian|sn sna shona|so som somali
sq sqi alb als albanian|sr srp serbian|su sun sundanese|sv swe swedish|sw swa swh swahili|ta tam tamil|te tel telugu
tg tgk tajik|th tha thai|tk tuk turkmen|tl fil tgl tagalog filipino|tr tur turkish|tt tat tatar|uk ukr ukrainian
ur urd urdu|uz uzb uzn uzbek|vi vie vietnamese|yi yid ji yiddish|yo yor yoruba|yue cantonese
zh zho chi cmn chinese mandarin
"""
_ROWS = [[name.replace("_", " ") for name in row.split()] for row in re.split(r"[|\n]", _LANGUAGES.strip())]
_CODES = {name: names[0] for names in _ROWS for name in names} | {"und": AUTO, AUTO: AUTO}
_NAMES = {names[0]: next((name for name in names if len(name) > 3), names[-1]) for names in _ROWS}  # `lo lao` is short


def code_of(language: str) -> str:
    """Returns the code of a language. It is `auto` if the language should be detected: `auto`, `und` or empty.

    Of a tag only the first part counts. A code that is not in the table is returned as it is, because a model may know
    it. Raises ValueError if the text names no language.
    """
    asked = language.partition("(")[0].strip().lower()
    if asked in _CODES or not asked:
        return _CODES.get(asked, AUTO)
    tag = _TAG.fullmatch(asked)
    if tag is None:
        raise ValueError(EXPECTED)
    return _CODES.get(tag[1], tag[1])


def candidate_of(language: str) -> str:
    """Returns the code of a language that may be detected, as `code_of` does. Raises ValueError also for `auto`."""
    try:
        code = code_of(language)
    except ValueError:
        code = AUTO
    if code == AUTO:
        raise ValueError(EXPECTED_CANDIDATE)
    return code


def name_of(code: str) -> str:
    """Returns the English name of a language in lower case, as Whisper and OpenAI write it, such as `english`.

    A code that is not in the table is returned as it is.
    """
    return _NAMES.get(code, code)
