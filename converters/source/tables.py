"""The table of words in source code: what makes a row of numbers of the words and numbers of a line of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from portable_nn.converters.array.use import in_quotes
from portable_nn.converters.source.c_function import Function as CFunction
from portable_nn.converters.source.c_operators.use import C_TYPES
from portable_nn.converters.source.words import listed_texts
from portable_nn.core.graph import Graph
from portable_nn.data.cells import MISSING
from portable_nn.data.columns import OTHER, codes_of
from portable_nn.format.meaning import Column, InputInfo

NUMPY = '''
def rows_of(lines):
    """Lines of a table as rows for predict(): each a dict of words and numbers by the names of their columns."""
    return np.array([[number_of(line[name], name, *kind) for name, *kind in CELLS] for line in lines], "{dtype}")


def number_of(cell, name, words, other, missing):
    """The number of a cell: a word is its place in the list; another one, and none (None, NaN, ""), as CELLS has it."""
    if cell is None or cell != cell or (str(cell) in ABSENT and cell not in words):
        found = missing
    elif words:
        cell = cell if isinstance(words[0], str) else float(cell)
        found = words.index(cell) if cell in words else other
    else:
        found = float(cell)
    if found is None:
        raise ValueError(f"{{name}}: {{cell!r}} is refused")
    return found'''

C = """
/* The place of a word in a list that ends with 0, or -1. */
static int {place}(const char *const *words, const char *word)
{{
    for (int i = 0; words[i]; ++i) {{
        const char *a = words[i], *b = word;
        while (*a && *a == *b)
            ++a, ++b;
        if (*a == *b)
            return i;
    }}
    return -1;
}}

/* Puts the number of a word, in UTF-8, into the row, at its column, from 0; returns 3 where that is refused. */
int {word}(int column, const char *word, {dtype} *cells)
{{
    static const char *const missing[] = {{{missing}
        0}};
{lists}
    static const char *const *const words[{count}] = {{{names}}};
    static const char refuses_other[{count}] = {{{others}}}, refuses_missing[{count}] = {{{gaps}}};

    if (column < 0 || column >= {count} || !words[column])
        return 3;
    int found = {place}(words[column], word);
    const int is_missing = found < 0 && {place}(missing, word) >= 0;
    cells[column] = is_missing ? ({dtype})NAN : ({dtype})found;
    return found < 0 && (is_missing ? refuses_missing : refuses_other)[column] ? 3 : 0;
}}"""


def columns_with_words(infos: Sequence[InputInfo]) -> tuple[Column, ...]:
    """The columns of the only input, if some are of words; else empty."""
    columns = infos[0].columns if len(infos) == 1 else ()
    return columns if any(column.categories for column in columns) else ()


def listed_columns(infos: Sequence[InputInfo], columns: Sequence[Column], call: str) -> Iterator[str]:
    """Lines on the columns of one of the inputs, and on the ``call`` that takes words; none where it has none."""
    if columns:
        yield f"columns: {listed_texts([each.name + (f' ({each.unit})' if each.unit else '') for each in columns])}"
    if columns_with_words(infos):
        yield f"words: {call}"


def in_numpy(graph: Graph, infos: Sequence[InputInfo]) -> Iterator[str]:
    """The functions of a numpy module that make rows of the lines of a table; none where it has no words."""
    if columns := columns_with_words(infos):
        yield "# The name of each column, its words, the number of another word, and of a missing one; None is refused."
        yield "CELLS = ["
        for column in columns:
            words = ", ".join(column.categories if codes_of(column) else map(in_quotes, column.categories))
            other = OTHER if column.unknown == "other" else None
            missing = "None" if column.missing == "refuse" else "np.nan"
            yield f"    ({in_quotes(column.name)}, [{words}], {other}, {missing}),"
        yield "]"
        yield f"ABSENT = {{{', '.join(map(in_quotes, sorted(MISSING)))}}}"
        yield ""
        yield NUMPY.format(dtype=graph.inputs[0].dtype)


def in_c(function: CFunction) -> str:
    """The function of a C file that puts words into a row; empty where its table has no words."""
    columns = columns_with_words(function.network.inputs)
    if not columns:
        return ""
    names = [f"words_{place}" if column.categories else "0" for place, column in enumerate(columns)]
    lists = [
        f"    static const char *const {name}[] = {{{_texts(column.categories)}\n        0}};"
        for name, column in zip(names, columns, strict=True)
        if column.categories
    ]
    return C.format(
        place=function.names.new(f"{function.name}_place"),
        word=name_of(function),
        dtype=C_TYPES[function.graph.inputs[0].dtype],
        missing=_texts(sorted(MISSING)),
        lists="\n".join(lists),
        count=len(columns),
        names=", ".join(names),
        others=", ".join(str(int(column.unknown == "refuse")) for column in columns),
        gaps=", ".join(str(int(column.missing == "refuse")) for column in columns),
    ).strip()


def name_of(function: CFunction) -> str:
    """The name of that function."""
    return function.names.of(f"{function.name}_word", "function")


def _texts(texts: Sequence[str]) -> str:
    """Texts in C, each in a line of its own."""
    return "".join(f'\n        "{"".join(map(_byte, text.encode()))}",' for text in texts)


def _byte(byte: int) -> str:
    """A byte in a text of C: letters are themselves; signs that begin or end something there are numbers."""
    return chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
