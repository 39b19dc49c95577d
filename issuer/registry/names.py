"""Vietnamese names: one written form, a form without diacritics to search, a key to sort by given name.

Both derived forms are plain ASCII where the name is Latin, so every database orders and compares them alike.
"""

import re
import unicodedata

from cardlink.errors import Malformed

MAX_CHARS = 100
ALPHABET = "aăâbcdđeêfghijklmnoôơpqrstuưvwxyz"
"""The Vietnamese alphabet in its order, with the four Latin letters it lacks where Latin has them."""
RANKS = "0123456789ABCDEFGHIJKLMNOPQRSTUVW"
TONES = {"\u0300": "1", "\u0309": "2", "\u0303": "3", "\u0301": "4", "\u0323": "5"}
"""The tones in dictionary order: none, grave, hook above, tilde, acute, dot below."""
SHAPES = {"\u0306", "\u0302", "\u031b"}
"""Breve, circumflex and horn make letters of their own: ă â ê ô ơ ư."""
WITHOUT_DECOMPOSITION = str.maketrans({"đ": "d", "Đ": "D", "ð": "d", "ł": "l", "ø": "o", "ß": "ss", "æ": "ae"})

_RANK = dict(zip(ALPHABET, RANKS, strict=True))
_NOT_WORD = re.compile(r"[^0-9a-z]+")


def normalise(text: str) -> str:
    """Write a person's name in its one form: NFC, single spaces, as many capitals as the office wrote.

    Raises Malformed when nothing, too much, or no letter is there, or a control or invisible character is.
    """
    name = unicodedata.normalize("NFC", " ".join(text.split()))
    if not name or len(name) > MAX_CHARS:
        raise Malformed("name", f"want 1 to {MAX_CHARS} characters, got {len(name)}")
    for character in name:
        if unicodedata.category(character)[0] in "CZ" and character != " ":
            raise Malformed("name", f"character U+{ord(character):04X}")
        if not (unicodedata.category(character)[0] in "LM" or character in " '’-."):
            raise Malformed("name", f"character {character}")
    if not any(unicodedata.category(character)[0] == "L" for character in name):
        raise Malformed("name", "no letter")
    return name


def fold(text: str) -> str:
    """Take the diacritics off, for searching: `Đặng Thị Ước` becomes `dang thi uoc`."""
    lowered = unicodedata.normalize("NFC", text).casefold().translate(WITHOUT_DECOMPOSITION)
    bare = "".join(c for c in unicodedata.normalize("NFD", lowered) if not unicodedata.combining(c))
    # An apostrophe joins: H'Hen is one word, typed hhen or h'hen.
    return _NOT_WORD.sub(" ", bare.replace("'", "").replace("’", "")).strip()


def sort_key(name: str) -> str:
    """Make the key that orders names as offices do: given name, family name, then what stands between.

    Within a word the letters decide in the Vietnamese alphabet, then the tone (`hòa` and `hoà` are equal).
    """
    words = [word for word in name.casefold().replace("-", " ").split() if any(map(str.isalnum, word))]
    if not words:
        return ""
    given, *rest = [words[-1], *words[:-1]]
    return " ".join(_word_key(word) for word in [given, *rest])


def _word_key(word: str) -> str:
    """The letters' ranks, a sign below all of them, and the tone."""
    letters: list[str] = []
    tone = "0"
    for character in unicodedata.normalize("NFD", word):
        if character in TONES:
            tone = TONES[character] if tone == "0" else tone
        elif character in SHAPES and letters:
            letters[-1] = unicodedata.normalize("NFC", letters[-1] + character)
        elif unicodedata.category(character)[0] in "LN":
            letters.append(character)
    return "".join(_rank(letter) for letter in letters) + "!" + tone


def _rank(letter: str) -> str:
    """The letter's place; Latin letters with foreign marks by their base, other scripts behind the Latin one."""
    known = _RANK.get(letter) or _RANK.get(unicodedata.normalize("NFD", letter.translate(WITHOUT_DECOMPOSITION))[0])
    return known if known is not None else f"~{ord(letter[0]):06X}"
