"""Words that messages share."""


def count(number: int, what: str) -> str:
    """A number of things, in words.

    >>> count(1, "clip"), count(2, "clip")
    ('1 clip', '2 clips')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"
