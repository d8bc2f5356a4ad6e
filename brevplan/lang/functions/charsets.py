"""Text in the charsets that IANA names."""

from __future__ import annotations

import codecs
import re

from brevplan.lang.gate import FunctionError

from .text import quoted

_ISO_8859 = {f"iso8859-{part}" for part in (*range(1, 11), *range(13, 17))}
_WINDOWS = {f"cp{page}" for page in (*range(1250, 1259), 874)}
_IBM = {f"cp{page}" for page in ("037", 437, 850, 852, 855, 858, 860, 862, 863, 865, 866, 1140)}
_UNICODE = {"utf-8", "utf-16", "utf-16-le", "utf-16-be"}
_ASIAN = {"big5", "gbk", "gb18030", "gb2312", "hz", "euc_jp", "shift_jis", "iso2022_jp", "euc_kr"}
_SUPPORTED = {"ascii", "koi8-r", "koi8-u", "mac-roman"} | _UNICODE | _ASIAN | _ISO_8859 | _WINDOWS | _IBM
# names that Python has and IANA has not
_NOT_IANA = re.compile(r"(cp_?(125\d|874|932|936|949|950)|ascii|646|u8|utf|u16|utf_.*|utf8|utf16.*|sjis|s_jis)\Z")


def encode_charset(text: str, name: str) -> bytes:
    codec = _codec(name)
    if codec == "utf-16":
        return codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    try:
        return text.encode(codec)
    except UnicodeEncodeError as problem:
        letter = text[problem.start]
        raise FunctionError(f"the charset {quoted(name)} has no character {quoted(letter)}", 0) from None


def decode_charset(data: bytes, name: str) -> str:
    codec = _codec(name)
    if codec == "utf-16" and data[:2] not in (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE):
        codec = "utf-16-be"
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        raise FunctionError(f"the decoded bytes are not valid in the charset {quoted(name)}", 0) from None


def _codec(name: str) -> str:
    try:
        codec = codecs.lookup(name).name if name.isascii() and name else ""
    except (LookupError, ValueError):
        codec = ""
    if codec not in _SUPPORTED or _NOT_IANA.match(name.lower()):
        raise FunctionError(f'there is no charset {quoted(name)}; use an IANA name such as "UTF-16LE"', 1)
    return codec
