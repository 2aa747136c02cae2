"""The two errors that users see: each is one sentence."""


class UserError(ValueError):
    """A request that cannot be met; the sentence says the rule, what came, and the remedy."""


class BadSample(ValueError):
    """An example that cannot be read or decoded; the sentence names its shard and key."""
