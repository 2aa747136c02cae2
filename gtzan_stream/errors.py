"""The two errors that users see: each is one sentence."""


class UserError(ValueError):
    """A request that cannot be met; the sentence says the rule, what came, and the remedy."""


class BadSample(ValueError):
    """An example that cannot be read or decoded; the sentence names its shard and key."""


def in_words(error: Exception) -> str:
    """An error as one line for people: of an OSError, the path, what is wrong with it, and what to check."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    path = "" if error.filename is None else f"{error.filename}: "
    return f"{path}{error.strerror}; check the path, its permissions and the room on its disk"
