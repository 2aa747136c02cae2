"""The tests' type checker: beartype, set to accept an int where a float is expected, as mypy does.

Before torch is imported, its waiting threads are set to sleep: by default they spin for a while, and several processes
with several threads each then take the cores from each other. Processes that tests start inherit the setting.
"""

import os

from beartype import BeartypeConf, beartype

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
