"""The cache of compiled kernels in processes of its own: edits, places, two processes at once, disks that are full."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import llvmlite
import llvmlite.binding
import numba
import pytest

import gtzan_stream.kernels

PROGRAM = """
import sys
import numpy as np
from numba import config
settings = {name: repr(value) for name, value in vars(config).items() if name.isupper()}
if sys.argv[1:] == ["full"]:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # like a disk that is full after 2,000 bytes
if sys.argv[1:] == ["together"]:
    print("ready", flush=True)
    input()
from gtzan_stream.kernels import numba_mel
logarithm = np.zeros(1, np.float32)
numba_mel._log(np.full(1, 2, np.float32), logarithm)
assert settings == {name: repr(value) for name, value in vars(config).items() if name.isupper()}
print(f"{logarithm[0]:.3f}", sum(numba_mel._log.stats.cache_misses.values()))
"""
LOG_2 = "0.693"


class Package(NamedTuple):
    """A copy of the kernels that a test may edit, and folders for caches."""

    kernels: Path
    caches: Path

    def environment(self, **variables: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        return inherited | {"XDG_CACHE_HOME": str(self.caches), "PYTHONDONTWRITEBYTECODE": "1"} | variables

    def run(self, *arguments: str, program: str = PROGRAM, **variables: str) -> list[str]:
        """Compute log(2) in a new process; return the result and the number of compilations."""
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(
            command,
            cwd=self.kernels.parent.parent,  # sys.path begins with it
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        return done.stdout.split()

    def files(self) -> list[Path]:
        return sorted(path for path in self.caches.rglob("*") if path.is_file())

    def folders(self) -> list[str]:
        return sorted({path.parent.name for path in self.files()})


@pytest.fixture
def package(tmp_path: Path) -> Package:
    kernels = tmp_path / "package/gtzan_stream/kernels"
    source = Path(gtzan_stream.kernels.__file__).parent
    shutil.copytree(source, kernels, ignore=shutil.ignore_patterns("__pycache__"))
    (kernels.parent / "__init__.py").touch()
    return Package(kernels, tmp_path / "caches")


def test_a_kernel_is_compiled_again_if_a_function_in_another_file_that_it_calls_is_edited(package: Package):
    file = package.kernels / "numba_log.py"
    original, status = file.read_text(), file.stat()
    edited = original.replace("return (x + ", "return (1 + ")
    assert len(edited) == len(original)
    assert edited != original
    assert package.run() == [LOG_2, "1"]
    assert package.run() == [LOG_2, "0"]
    file.write_text(edited)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.rmtree(package.kernels / "__pycache__", ignore_errors=True)  # Python compares only sizes and times
    result, compilations = package.run()
    assert result != LOG_2
    assert compilations == "1"
    file.write_text(original)
    shutil.rmtree(package.kernels / "__pycache__", ignore_errors=True)
    assert package.run() == [LOG_2, "0"]
    assert len(package.folders()) == 2


def test_a_new_file_of_kernels_is_a_new_folder(package: Package):
    package.run()
    (package.kernels / "deeper").mkdir()
    (package.kernels / "deeper/numba_new.py").write_text("one = 1\n")
    assert package.run() == [LOG_2, "1"]
    assert len(package.folders()) == 2


FOLDER = """
from numba.core.registry import cpu_target
from gtzan_stream.kernels.code_files import folder_for
print(folder_for(*cpu_target.target_context.codegen().magic_tuple()).name)
"""


def test_the_folder_names_versions_cpu_and_lanes(package: Package):
    (package.kernels / "lane_count.py").write_text('import os\nLANES = int(os.environ["GTZAN_STREAM_LANES"])\n')
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    cases = [("16", {}), ("8", {}), ("8", generic)]
    found = [package.run(program=FOLDER, GTZAN_STREAM_LANES=lanes, **variables) for lanes, variables in cases]
    versions = f"numba{numba.__version__}-llvmlite{llvmlite.__version__}-{sys.implementation.cache_tag}"
    pattern = re.escape(versions) + r"-(.+)-([0-9a-f]{8})-lanes(\d+)-([0-9a-f]{16})"
    parts = [re.fullmatch(pattern, name).groups() for (name,) in found]
    cpu = llvmlite.binding.get_host_cpu_name()
    assert [(name, lanes) for name, _, lanes, _ in parts] == [(cpu, "16"), (cpu, "8"), ("generic", "8")]
    (_, features, _, digest), (_, same_features, _, same_digest), (_, no_features, _, _) = parts
    assert features == same_features != no_features
    assert digest == same_digest


def test_kernels_for_other_lanes_are_compiled_again(package: Package):
    for lanes in (8, 16):
        (package.kernels / "lane_count.py").write_text('import os\nLANES = int(os.environ["GTZAN_STREAM_LANES"])\n')
        assert package.run(GTZAN_STREAM_LANES=str(lanes)) == [LOG_2, "1"]
    assert sorted(name.split("-")[-2] for name in package.folders()) == ["lanes16", "lanes8"]


def test_kernels_with_several_options_and_names_are_found_again(package: Package):
    program = """
import numpy as np
from gtzan_stream.kernels.numba_stft import cut_frames
frames = np.zeros((1, 2), np.float32)
cut_frames(np.ones(2, np.float32), np.full(2, 3, np.float32), 1, 0, frames)
print(*frames[0], sum(cut_frames.stats.cache_misses.values()))
"""
    found = [package.run(program=program, PYTHONHASHSEED=seed) for seed in ("1", "2", "3")]
    assert found == [["3.0", "3.0", compilations] for compilations in "100"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_process_leaves_no_file_that_counts(package: Package):
    kill = "import os, signal\nos.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    with pytest.raises(AssertionError):
        package.run(program=kill + PROGRAM)
    assert [path.suffix for path in package.files()] != [".kernel"]
    assert [package.run(), package.run()] == [[LOG_2, "1"], [LOG_2, "0"]]


OWN = """
from numba import njit

@njit(cache=True)
def own(x):
    return x + 1
"""


@pytest.mark.parametrize("is_set", [False, True], ids=["by default", "NUMBA_CACHE_DIR"])
def test_kernels_have_a_folder_of_their_own_and_the_user_keeps_numbas_cache(is_set: bool, package: Package):
    module = package.kernels.parent.parent / "users_module.py"
    module.write_text(OWN)
    numbas = package.caches / "numbas"
    numbas.mkdir(parents=True)
    (package.caches / "gtzan-stream/0123").mkdir(parents=True)
    others = [package.caches / name for name in ("gtzan-stream/0123/x.tar", "gtzan-stream/x", "numbas/x.nbi", "x")]
    for path in others:
        path.write_bytes(b"something else")
        os.utime(path, (0, 0))
    variables = {"NUMBA_CACHE_DIR": str(numbas)} if is_set else {}
    program = (
        PROGRAM + "import users_module; print(users_module.own(1), sum(users_module.own.stats.cache_hits.values()))"
    )
    assert package.run(program=program, **variables) == [LOG_2, "1", "2", "0"]
    assert package.run(program=program, **variables) == [LOG_2, "0", "2", "1"]
    place = (numbas if is_set else package.caches) / "gtzan-stream/kernels"
    assert {path.parent.parent for path in package.caches.rglob("*.kernel")} == {place}
    users = (numbas if is_set else module.parent / "__pycache__").rglob("users_module.own*.nb?")
    assert sorted(path.suffix for path in users) == [".nbc", ".nbi"]
    assert not list(package.kernels.rglob("*.nb?"))
    assert all(path.read_bytes() == b"something else" and not path.stat().st_mtime for path in others)


def test_two_processes_may_compile_at_once(package: Package):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command, place = [sys.executable, "-c", PROGRAM, "together"], package.kernels.parent.parent
    processes = [subprocess.Popen(command, cwd=place, env=package.environment(), **pipes) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        output, errors = process.communicate(timeout=240)
        assert (process.returncode, errors) == (0, "")
        assert output.split()[0] == LOG_2
    assert [path.suffix for path in package.files()] == [".kernel"]
    assert package.run() == [LOG_2, "0"]


LOGGED = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s.")
"""


def why_uncached(output: list[str]) -> str:
    """Return why kernels are not kept, of which there must be one log line, from the output of a `LOGGED` program."""
    *lines, result, compilations = output
    assert (result, compilations) == (LOG_2, "1")
    text = " ".join(lines).removeprefix("compiling the CPU kernels, once for this machine. ")
    start = "the CPU kernels are compiled in each process, as they cannot be kept: "
    assert text.startswith(start)
    assert text.count("the CPU kernels") == 1
    return text.removeprefix(start)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_kernels_are_compiled_on_a_full_disk_and_one_line_is_logged(package: Package):
    remedy = "set NUMBA_CACHE_DIR to a folder that can be written."
    for _ in range(2):
        reason = why_uncached(package.run("full", program=LOGGED + PROGRAM))
        assert reason == f"{package.caches / 'gtzan-stream/kernels'}: File too large; {remedy}"
    assert not package.files()


def test_kernels_are_compiled_where_no_folder_can_be_written_and_one_line_is_logged(package: Package):
    package.caches.write_bytes(b"a file, where a folder should be")
    reason = why_uncached(package.run(program=LOGGED + PROGRAM))
    assert f"{package.caches / 'gtzan-stream/kernels'}: Not a directory; set NUMBA_CACHE_DIR" in reason


@pytest.mark.skipif(sys.platform != "linux", reason="removes the variables from which Linux finds the home")
def test_kernels_are_compiled_for_a_user_without_a_home(package: Package):
    nobody = "import pwd\ndef missing(*_): raise KeyError\npwd.getpwuid = missing\nimport os\ndel os.environ['HOME']\n"
    reason = why_uncached(package.run(program=nobody + LOGGED + PROGRAM, XDG_CACHE_HOME=""))
    assert reason == "Could not determine home directory.."


def test_a_cache_that_can_only_be_read_is_used(package: Package):
    package.run()
    refuse = """
import os, pathlib
def refuse(*_, **__): raise OSError(30, "Read-only file system")
os.utime = os.replace = pathlib.Path.mkdir = pathlib.Path.write_bytes = pathlib.Path.unlink = refuse
"""
    assert package.run(program=refuse + PROGRAM) == [LOG_2, "0"]


def test_kernels_run_as_python_where_numbas_compiler_is_switched_off(package: Package):
    program = PROGRAM.replace(", sum(numba_mel._log.stats.cache_misses.values())", "")
    assert package.run(program=LOGGED + program, NUMBA_DISABLE_JIT="1") == [LOG_2]
