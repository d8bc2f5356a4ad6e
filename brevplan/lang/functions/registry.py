"""Which module holds which function. A family is imported when one of its functions is called for the first time."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final

from brevplan.lang.gate import Function

# the evaluator implements these itself: they take expressions or types, or render templates
SPECIAL_FORMS: Final = frozenset({"can", "convert", "templatefile", "templatestring", "try", "type"})

_FAMILIES: Final[dict[str, str]] = {
    "assumptions": (
        "assumeequal assumelistlength assumelistlengthmax assumelistlengthmin assumemaplength assumemaplengthmax "
        "assumemaplengthmin assumenotnull assumesetlength assumesetlengthmax assumesetlengthmin assumestringprefix"
    ),
    "choices": "alltrue anytrue coalesce coalescelist one",
    "conversion": "ephemeralasnull issensitive nonsensitive sensitive tobool tolist tomap tonumber toset tostring",
    "dates": "formatdate plantimestamp timeadd timecmp timestamp",
    "encoding": (
        "base64decode base64encode base64gunzip base64gzip csvdecode jsondecode jsonencode textdecodebase64 "
        "textencodebase64 urldecode urlencode"
    ),
    "files": (
        "abspath basename dirname file filebase64 filebase64sha256 filebase64sha512 fileexists filemd5 fileset "
        "filesha1 filesha256 filesha512 pathexpand"
    ),
    "formatting": "format formatlist",
    "hashing": "base64sha256 base64sha512 bcrypt md5 rsadecrypt sha1 sha256 sha512 uuid uuidv5",
    "mappings": "keys lookup merge transpose values zipmap",
    "network": "cidrcontains cidrhost cidrnetmask cidrsubnet cidrsubnets",
    "numeric": "abs ceil floor log max min parseint pow range signum sum",
    "patterns": "regex regexall replace",
    "retired": "list map",
    "sequences": "chunklist concat contains distinct element flatten index length matchkeys reverse slice",
    "sets": "setintersection setproduct setsubtract setunion",
    "strings": (
        "chomp compact endswith indent join lower sort split startswith strcontains strrev substr title trim "
        "trimprefix trimspace trimsuffix upper"
    ),
    "yamltext": "yamldecode yamlencode",
}
_MODULE_OF: Final = {name: module for module, names in _FAMILIES.items() for name in names.split()}
_RETIRED: Final = frozenset(_FAMILIES["retired"].split())


def lookup(name: str) -> Function | None:
    """Give the function of a name, also when it is written `core::name`; None for an unknown or special one."""
    plain = name.removeprefix("core::")
    module = _MODULE_OF.get(plain)
    return _family(module)[plain] if module else None


def names() -> list[str]:
    """Give the name of every function that can be called, in order, for suggestions and completion."""
    return sorted((_MODULE_OF.keys() - _RETIRED) | SPECIAL_FORMS)


@cache
def _family(module: str) -> dict[str, Function]:
    functions: tuple[Function, ...] = import_module(f"{__package__}.{module}").FUNCTIONS
    return {function.name: function for function in functions}
