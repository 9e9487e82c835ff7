"""The languages that sessions name: codes, what people call them, and how one code is compared with another.

Owns the table and the comparison of codes (BCP 47, as far as the contract uses it: language, then region or
script). Refuses to know engines; what an installed engine can do with a language is `abilities.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple


class Language(NamedTuple):
    """code: BCP 47 without a region. name: in English. native: as its speakers write it."""

    code: str
    name: str
    native: str


TABLE: Final = tuple(
    Language(*line.split("|"))
    for line in """
af|Afrikaans|Afrikaans
ar|Arabic|العربية
bg|Bulgarian|български
bn|Bengali|বাংলা
ca|Catalan|català
cs|Czech|čeština
cy|Welsh|Cymraeg
da|Danish|dansk
de|German|Deutsch
el|Greek|ελληνικά
en|English|English
es|Spanish|español
et|Estonian|eesti
eu|Basque|euskara
fa|Persian|فارسی
fi|Finnish|suomi
fr|French|français
ga|Irish|Gaeilge
gl|Galician|galego
gu|Gujarati|ગુજરાતી
he|Hebrew|עברית
hi|Hindi|हिन्दी
hr|Croatian|hrvatski
hu|Hungarian|magyar
hy|Armenian|հայերեն
id|Indonesian|Indonesia
is|Icelandic|íslenska
it|Italian|italiano
ja|Japanese|日本語
ka|Georgian|ქართული
kk|Kazakh|қазақ тілі
ko|Korean|한국어
lt|Lithuanian|lietuvių
lv|Latvian|latviešu
mk|Macedonian|македонски
ms|Malay|Melayu
mt|Maltese|Malti
nl|Dutch|Nederlands
no|Norwegian|norsk
pl|Polish|polski
pt|Portuguese|português
ro|Romanian|română
ru|Russian|русский
sk|Slovak|slovenčina
sl|Slovenian|slovenščina
sq|Albanian|shqip
sr|Serbian|српски
sv|Swedish|svenska
sw|Swahili|Kiswahili
ta|Tamil|தமிழ்
te|Telugu|తెలుగు
th|Thai|ไทย
tl|Tagalog|Tagalog
tr|Turkish|Türkçe
uk|Ukrainian|українська
ur|Urdu|اردو
vi|Vietnamese|Tiếng Việt
zh|Chinese|中文
""".strip().splitlines()
)
_BY_CODE: Final = {language.code: language for language in TABLE}
#: Codes that mean a language of the table: what people, engines and older standards write for it.
_ALSO: Final = {"nb": "no", "nn": "no", "iw": "he", "in": "id", "fil": "tl", "cmn": "zh", "yue": "zh"}


def base(code: str) -> str:
    """The language of a code, without region and script: `es-MX` → `es`, `nb` → `no`."""
    primary = code.replace("_", "-").partition("-")[0].lower()
    return _ALSO.get(primary, primary)


def find(code: str) -> Language | None:
    """The table's line for a code, None when it is not there."""
    return _BY_CODE.get(base(code))


def name(code: str) -> str:
    """What a language is called, for people and for prompts: `es-MX` → `Spanish (MX)`."""
    language = find(code)
    region = code.replace("_", "-").partition("-")[2]
    called = code if language is None else language.name
    return f"{called} ({region})" if region and language is not None else called


def same(one: str, other: str) -> bool:
    """Whether two codes are one language, whatever their regions."""
    return base(one) == base(other)


def nearest(wanted: str, offered: Iterable[str]) -> str | None:
    """Which of the codes on offer serves best: the very same, the bare language, any region of it. Else None."""
    found: str | None = None
    for code in offered:
        if code.lower() == wanted.lower():
            return code
        if same(code, wanted) and (found is None or code == base(code)):
            found = code
    return found
