"""Format values for messages: numbers with nouns, lists of names, one-line texts."""

import re
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


def short_repr(value: object, most: int = 60) -> str:
    """Return the repr of a value on one line, shortened to `most` characters.

    >>> short_repr([1, "a"]), short_repr("x" * 100, 8)
    ("[1, 'a']", "'xxxx...")
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= most else text[: most - 3] + "..."
