"""Type checker for the tests: beartype, set to accept an int where a float is expected, as mypy does."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
