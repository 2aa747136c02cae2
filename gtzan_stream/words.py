"""Format values for messages: numbers with nouns, lists of names, one-line texts."""

import re
import reprlib
from collections.abc import Iterable

FROM_THE_BEGINNING = "the same command starts from the beginning"
"""How to continue after Ctrl-C, where nothing was kept."""


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1.

    >>> count(1, "clip"), count(2, "clip")
    ('1 clip', '2 clips')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def first_few(names: Iterable[str], most: int = 5) -> str:
    """Join the first few names with commas.

    >>> first_few("abcd", 3), first_few("abc", 3)
    ('a, b, c, ...', 'a, b, c')
    """
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def one_line(text: str) -> str:
    """Return the text on one line, with escapes for line breaks and other unprintable characters.

    >>> one_line("a\\nb")
    'a\\\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def markdown(text: str) -> str:
    r"""Escape a text for Markdown, also in the cell of a table.

    >>> print(markdown("a|b <i>"))
    a\|b \<i\>
    """
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", one_line(text))


_REPR = reprlib.Repr()  # takes little time and memory for values of any size and depth
_REPR.maxlevel = 4
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = _REPR.maxset = 20
_REPR.maxlong = _REPR.maxother = _REPR.maxstring = 1000


def short_repr(value: object, most: int = 60) -> str:
    """Return the repr of a value on one line, shortened to `most` characters.

    >>> short_repr([1, "a"]), short_repr("x" * 100, 8), short_repr([[[[[[1]]]]]])
    ("[1, 'a']", "'xxxx...", '[[[[[...]]]]]')
    """
    try:
        text = " ".join(_REPR.repr(value).split())
    except ValueError:  # a whole number with more digits than Python writes
        text = f"{type(value).__name__} with too many digits"
    return text if len(text) <= most else text[: most - 3] + "..."
