"""A process and one that it has started exchange settings and reports, and end together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gtzan_stream.service.child import let_end, reports, start

WAITS = """
import os, time
from gtzan_stream.service.child import at_end_of_parent, take_settings
settings, say = take_settings()
print("from a library", flush=True)
say({"got": settings})
at_end_of_parent(lambda: (say({"last": True}), os._exit(7)))
time.sleep(60)
"""


def test_settings_and_reports_arrive_and_the_end_of_the_parent_is_noticed(capfd: pytest.CaptureFixture[str]):
    settings = {"name": "é", "keys": None, "text": "a\nb"}
    with start([sys.executable, "-c", WAITS], settings) as process:
        told = reports(process)
        assert next(told) == {"got": settings}
        assert os.getsid(process.pid) != os.getsid(0), "Ctrl-C in the terminal is not for it"
        let_end(process)
        assert list(told) == [{"last": True}]
        assert process.wait() == 7
    assert capfd.readouterr() == ("", "from a library\n")


def test_a_process_whose_parent_has_ended_already_does_nothing(tmp_path: Path):
    program = f"{WAITS.partition('say(')[0]}open({str(tmp_path / 'file')!r}, 'w')"
    ended = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("n", [1, 100_000])
def test_a_process_that_ends_before_it_reads_its_settings_is_no_error(n: int):
    with start([sys.executable, "-c", "import sys; sys.stdin.close(); sys.exit(3)"], {"x": "x" * n}) as process:
        assert list(reports(process)) == []
        assert process.wait() == 3
        let_end(process)


def test_the_end_of_a_process_that_has_not_read_all_is_no_error():
    with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE) as process:
        process.wait()
        process.stdin.write(b"x")
        let_end(process)
