"""What `./run demo` may be told: its options, their help and what is wrong with them, Vietnamese first."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cardlink.language.catalogue import Language, chosen_language
from cardlink.language.parser import PARSERS, Parser
from demo.key_room import chosen as key_room_of

TEXTS: dict[str, tuple[str, str]] = {
    "about": (
        "Việc chính trên một máy, từ chiếc khóa đầu tiên đến lần từ chối cuối cùng.",
        "The main job on one machine, from the first key to the last refusal.",
    ),
    "once": (
        "kết thúc khi kể xong; mã thoát 1 ngay khi có điều không như phải thế",
        "end after the story; exit 1 at the first thing that is wrong",
    ),
    "tear": (
        "rút thẻ đầu tiên ra ở lượt trao đổi thứ N khi đang ghi chip",
        "pull the first card at exchange N of its personalisation",
    ),
    "in-process": (
        "dùng đường truyền trong tiến trình dù máy có pcscd",
        "use the in-process carrier though pcscd is there",
    ),
    "hsm": (
        "giữ khóa trong thiết bị của mô-đun PKCS #11 này (mặc định: hsm-sim)",
        "keep the keys in this PKCS #11 module's device (default: hsm-sim)",
    ),
    "folder": (
        "để mọi thứ làm ra trong thư mục này, thư mục phải trống",
        "keep everything that is made in this folder, which must be empty",
    ),
    "MODULE": ("pkcs11:MÔ_ĐUN", "pkcs11:MODULE"),
    "FOLDER": ("THƯ_MỤC", "FOLDER"),
    "wrong.hsm": (
        "--hsm: {value} không phải pkcs11:MÔ_ĐUN với một mô-đun có trên máy",
        "--hsm: {value} is not pkcs11:MODULE with a module that is there",
    ),
    "wrong.tear": ("--tear: lượt trao đổi đếm từ 1", "--tear: exchanges count from 1"),
    "wrong.folder": ("--folder: {value} không phải thư mục trống", "--folder: {value} is not an empty folder"),
}


def make_parser(lang: Language) -> Parser:
    """The grammar of the command line."""
    parser = PARSERS[lang](prog="./run demo", description=_say("about", lang))
    parser.add_argument("--once", action="store_true", help=_say("once", lang))
    parser.add_argument("--tear", type=int, metavar="N", help=_say("tear", lang))
    parser.add_language(default=str(lang))
    parser.add_argument("--in-process", action="store_true", help=_say("in-process", lang))
    parser.add_argument("--hsm", metavar=_say("MODULE", lang), help=_say("hsm", lang))
    parser.add_argument("--folder", type=Path, metavar=_say("FOLDER", lang), help=_say("folder", lang))
    return parser


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options, `lang` always among them. Wrong ones end the program with exit 2."""
    lang = chosen_language(arguments)
    parser = make_parser(lang)
    chosen = parser.parse_args(arguments)
    try:
        key_room_of(chosen.hsm)
    except ValueError:
        parser.error(_say("wrong.hsm", lang, value=chosen.hsm))
    if chosen.tear is not None and chosen.tear < 1:
        parser.error(_say("wrong.tear", lang))
    if chosen.folder is not None and not _is_free(chosen.folder):
        parser.error(_say("wrong.folder", lang, value=chosen.folder))
    return chosen


def _say(code: str, lang: Language, **facts: object) -> str:
    return TEXTS[code][lang is Language.EN].format(**facts)


def _is_free(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
