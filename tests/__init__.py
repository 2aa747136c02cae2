"""The checker of signatures in tests: beartype, for which an int is a float, as it is for people and for mypy."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
