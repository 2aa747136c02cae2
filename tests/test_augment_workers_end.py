"""No worker process is left when its program ends, is killed or forks; a transform that cannot be loaded."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker_cases import is_running, posix, wait_until

PROGRAM = """
import os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
import numpy as np
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts programs in the background without it
from gtzan_stream.augment.workers import Workers
from tests.audio_functions import by_first_sample
workers = Workers(by_first_sample, 1, 600.0)
samples = np.ones(100_000, np.float32)
workers.call(samples, 22050, 1)
pids = [workers._started[0].popen.pid]

def hang():
    with suppress(ValueError):  # the pool is closed
        workers.call(6 * samples, 22050, 1)

if sys.argv[1] == "fork" and not os.fork():
    os.closerange(1, 3)
    os.read(0, 1)  # until the test closes the pipe
    os._exit(0)
if sys.argv[1] == "hang":
    threading.Thread(target=hang, daemon=True).start()
if sys.argv[1] == "hang in a pool":
    ThreadPoolExecutor(1).submit(hang)
print(*pids, flush=True)
time.sleep(100)
"""


CASES = [(signal.SIGKILL, case) for case in ("idle", "hang", "fork")]
CASES += [(signal.SIGINT, case) for case in ("idle", "hang", "hang in a pool")]
LIKE_OTHERS = [(signal.SIGKILL, "hang in a pool"), (signal.SIGINT, "fork")]
"""SIGKILL ends threads of any kind alike, and after SIGINT the program ends its workers itself."""


@posix
@pytest.mark.parametrize(
    ("number", "case"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in LIKE_OTHERS)]
)
def test_no_process_is_left_when_the_program_ends(case: str, number: int) -> None:
    """Also if it ends during a call, or if a forked child has the pipes open."""
    command = [sys.executable, "-c", PROGRAM, case]
    pipe = subprocess.PIPE
    program = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert program.stdout is not None
    pid = int(program.stdout.readline())
    assert is_running(pid)
    if case.startswith("hang"):
        assert program.stderr is not None
        assert program.stderr.readline() == "begin to wait\n"
    program.send_signal(number)
    program.wait(60)  # not for the forked child
    wait_until(lambda: not is_running(pid))
    _, errors = program.communicate()
    assert errors.count("Traceback") == (number == signal.SIGINT)


FORKED = """
import os
import numpy as np
from gtzan_stream.augment.workers import Workers
from tests.audio_functions import louder
workers = Workers(louder, 1, 60.0)
samples = np.ones(100_000, np.float32)
assert workers.call(samples, 22050, 1)[0] == 2
(process,) = [worker.popen for worker in workers._started]
child = os.fork()
if child == 0:
    assert workers._started == []
    assert workers.call(samples, 22050, 1)[0] == 2
    (own,) = [worker.popen for worker in workers._started]
    assert own.pid != process.pid
    workers.close()
    assert own.poll() is not None
    os._exit(0)
_, status = os.waitpid(child, 0)
assert process.poll() is None
assert workers.call(samples, 22050, 1)[0] == 2
print("status", status)
"""


@posix
def test_a_forked_child_starts_its_own_processes() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", FORKED], capture_output=True, text=True, timeout=100)
    assert done.stdout == "status 0\n", done.stderr
    assert set(done.stderr.splitlines()) == {"not a result"}


def test_a_transform_that_cannot_be_loaded_is_a_user_error(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import torch\n"
        "from gtzan_stream.augment import Audiomentations\n"
        "def here(samples, rate): return samples\n"
        "from tests.audio_functions import louder\n"
        "print('louder')\n"
        "doubled = Audiomentations(louder, num_workers=1)\n"
        "print(doubled(torch.ones(1, 2), ['a']), doubled._workers._started[0].popen.pid)\n"
        "Audiomentations(here, num_workers=1)(torch.ones(1, 2), ['a'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[:1] == ["louder"]
    assert "tensor([[2., 2.]])" in done.stdout
    assert "UserError: a worker process could not load the transform (AttributeError: " in done.stderr.splitlines()[-1]
    assert "use num_workers=0" in done.stderr.splitlines()[-1]
    assert not is_running(int(done.stdout.split()[-1]))
