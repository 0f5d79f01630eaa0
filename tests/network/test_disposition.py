"""The name of a file, in each way that programs write it into `Content-Disposition`."""

import pytest

from app.network.disposition import names

UMLAUT = "Anruf_Müller.wav"


@pytest.mark.parametrize(
    ("written", "filename"),
    [
        (b'filename="call.wav"', "call.wav"),
        (b"filename=call.wav", "call.wav"),
        (b'FileName = "call.wav" ; x=y', "call.wav"),
        (b'filename=""', ""),
        (b"filename=\"=?utf-8?B?QW5ydWZfTcO8bGxlci53YXY=?=\"; filename*=utf-8''Anruf_M%C3%BCller.wav", UMLAUT),
        (b"filename*=UTF-8''Anruf_M%C3%BCller.wav; filename=\"Anruf_Muller.wav\"", UMLAUT),
        (b"filename*=utf-8'de'Anruf_M%C3%BCller.wav", UMLAUT),
        (b"filename*=\"UTF-8''Anruf_M%C3%BCller.wav\"", UMLAUT),
        (b"filename*=iso-8859-1''Anruf_M%FCller.wav", UMLAUT),
        (b"filename*=utf-8''%FF; filename=\"call.wav\"", "call.wav"),
        (b"filename*=koi8-r''%C1; filename=\"call.wav\"", "call.wav"),
        (b'filename="=?utf-8?B?QW5ydWZfTcO8bGxlci53YXY=?="', UMLAUT),
        (b"filename==?utf-8?B?QW5ydWZfTcO8bGxlci53YXY=?=", UMLAUT),
        (b'filename="=?ISO-8859-1?Q?Anruf=5FM=FCller.wav?="', UMLAUT),
        (b'filename="=?utf-8?Q?Anruf=5FM?= =?utf-8?B?w7xsbGVyLndhdg==?="', UMLAUT),
        (b'filename="=?no-charset?B?QQ==?="', "=?no-charset?B?QQ==?="),
        (b'filename="=?\xff?Q?a?="', "=?ÿ?Q?a?="),
        (b'filename="=?punycode?Q?-a?="', "=?punycode?Q?-a?="),
        (b'filename="=?windows-1251?Q?=E7=E2=EE=ED=EE=EA?="', "звонок"),
        (b'filename="=?utf-8?B?a.wav"', "=?utf-8?B?a.wav"),
        ('filename="Anruf_Müller.wav"'.encode(), UMLAUT),
        ('filename="Anruf_Müller.wav"'.encode("latin-1"), UMLAUT),
        (b'filename="Anruf_M%C3%BCller%20(1).wav"', "Anruf_Müller (1).wav"),
        (b'filename="100%25%20of%20calls.wav"', "100%25%20of%20calls.wav"),
        (b'filename="50%C3.wav"', "50%C3.wav"),
        ('filename="M%C3%BCller und Müller.wav"'.encode(), "M%C3%BCller und Müller.wav"),
        (b'filename="a %22quoted%22 call.wav"', 'a "quoted" call.wav'),
        (b'filename="a \\"quoted\\" call.wav"', 'a "quoted" call.wav'),
        (b'filename="a "quoted" call.wav"', 'a "quoted" call.wav'),
        (b'filename="a;b=c.wav"; size=3', "a;b=c.wav"),
        (b'filename="C:\\calls\\a.wav"', "C:\\calls\\a.wav"),
        (b'filename="\\\\\\\\server\\\\calls\\\\a.wav"', "\\\\server\\calls\\a.wav"),
        (b'filename="C:\\calls\\"', "C:\\calls\\"),
    ],
)
def test_a_file_name_is_read_as_programs_write_it(written: bytes, filename: str) -> None:
    assert names(b'form-data; name="file"; ' + written) == ("file", filename)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", (None, None)),
        (b"form-data", (None, None)),
        (b"form-data; name=file", ("file", None)),
        (b'attachment; filename="call.wav"', (None, "call.wav")),
        ('form-data; name="Größe"'.encode(), ("Größe", None)),
        (b'form-data; name="a%22b"', ('a"b', None)),
    ],
)
def test_each_name_may_be_missing(header: bytes, expected: tuple[str | None, str | None]) -> None:
    assert names(header) == expected


PUNYCODE = b'; filename="=?punycode?Q?-' + b"z" * 16_000 + b'?="'  # Python needs eleven seconds to decode it


@pytest.mark.parametrize(
    "header", [b';a="x' * 1000, b'; filename="' + b'" ' * 2000, b"; filename=" + b"=?a?b?" * 700, PUNYCODE]
)
def test_a_hostile_header_is_read_without_much_work(header: bytes) -> None:
    assert names(header)[0] is None
