"""The two errors that people, rather than programmers, get to see."""


class UserError(ValueError):
    """A mistake in what somebody asked for: one sentence that says the rule, what came, and the remedy."""


class BadSample(ValueError):
    """A sample that cannot be read or decoded; the sentence names its shard and key."""
