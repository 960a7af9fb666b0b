"""Words that no identifier of a network may be in C, nor in C++, which may include the file."""

from __future__ import annotations

import re
from typing import Final

_TAKEN: Final = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm fortran
bool true false nullptr constexpr alignas alignof static_assert thread_local typeof typeof_unqual and or not xor
class new delete this template typename namespace using try catch throw public private protected virtual friend
operator explicit export mutable linux unix main argc argv number failed errno EOF NULL NAN INFINITY HUGE_VAL assert
signal printf scanf fprintf sscanf sprintf puts gets getc putc exit abort abs labs div rand srand time clock free malloc
calloc realloc qsort bsearch system getenv remove rename tmpfile fopen fclose fread fwrite stdin stdout stderr atoi atof
acos asin atan atan2 acosh asinh atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor fma fmax
fmin fmod frexp hypot ilogb ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan nearbyint
nextafter nexttoward pow remainder remquo rint round scalbln scalbn sin sinh sqrt tan tanh tgamma trunc gamma y0 y1
yn jn index rindex signgam i n o k row sum scratch net_work NET_MAIN NET_STORAGE
"""

_FLOATS: Final = re.findall(r"\w+", _TAKEN[_TAKEN.index("acos") : _TAKEN.index("gamma y0")])

TAKEN: Final = [*_TAKEN.split(), *(f"{name}{kind}" for name in _FLOATS for kind in "fl")]
"""Keywords, names of the library for each of its float types, and those that every file has."""

RESERVED: Final = re.compile(r"(is|to|str|mem|wcs|net_work)[a-z_]|E[0-9A-Z]|u?int\w*_t|size_t|[ij]\d")
"""Names that the standard keeps for itself, memories, and the variables of loops."""
