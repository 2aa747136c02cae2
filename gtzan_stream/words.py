"""Words that messages share."""

from collections.abc import Iterable


def count(number: int, what: str) -> str:
    """A number of things, in words.

    >>> count(1, "clip"), count(2, "clip")
    ('1 clip', '2 clips')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def first_few(names: Iterable[str], most: int = 5) -> str:
    """The first few names.

    >>> first_few("abcd", 3), first_few("abc", 3)
    ('a, b, c, ...', 'a, b, c')
    """
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def one_line(text: str) -> str:
    """The text in one line: control characters, and what no terminal can show, as escapes.

    >>> one_line("a\\nb")
    'a\\\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short_repr(value: object, most: int = 60) -> str:
    """A value as Python writes it, in one line.

    >>> short_repr([1, "a"]), short_repr("x" * 100, 8)
    ("[1, 'a']", "'xxxx...")
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= most else text[: most - 3] + "..."
