"""Interrupt work at every file operation and report what is wrong afterwards: interrupted.py FOLDER NAME...

The work runs in forked processes, so that the package is imported only once. This process itself starts no threads, as
threads of torch and other libraries do not survive a fork.
"""

import gc
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.file_faults import FAULTS, NEEDS_ROOM, REMOVALS, Ended, Injector, in_child
from tests.interrupted_commands import WORK, Work, trace

ROOT = Path(__file__).parent.parent
ENDS = r"(\.unfinished|(\.\d+)?\.part)$"
"""Ends of the names of files that are renamed when they are complete."""
Tree = dict[str, bytes | None]
"""The contents of the files below a folder, by path; None for a folder."""


def tree(root: Path) -> Tree:
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")}


class Trial:
    """One piece of work that runs many times in the folder `root`, each time from the same state.

    Attributes
    ----------
    before, after : Tree
        The files before the work, and after it when nothing goes wrong.
    operations : list of (kind, path)
        The file operations of the work when nothing goes wrong.
    """

    def __init__(self, work: Work, folder: Path) -> None:
        self.work, self.folder, self.root = work, folder, folder / "root"
        (self.root / "tmp").mkdir(parents=True)
        self._do(lambda: work.before(self.root))
        shutil.copytree(self.root, folder / "before", symlinks=True)
        self.before, digest = tree(self.root), self.digest()
        self.usual_messages = self._do(self._run_and_record).err.splitlines()
        self.after, self.digests = tree(self.root), (digest, self.digest())
        self.operations: list[tuple[str, str]] = json.loads((folder / "operations.json").read_text())
        warm_up(json.loads((folder / "modules.json").read_text()))
        assert self.before != self.after
        opened = {os.path.basename(path) for kind, path in self.operations if kind == "open"}
        new = [path for path, data in files(self.after).items() if self.before.get(path) != data]
        names = {re.sub(ENDS, "", name) for name in opened}
        unseen = [path for path in new if os.path.basename(path) not in names]
        assert not unseen, f"a library opened these files itself: {unseen}"

    def _do(self, work) -> Ended:  # type: ignore[no-untyped-def]
        ended = in_child(work, self.folder / "log")
        assert ended.status == 0, ended
        return ended

    def _run_and_record(self) -> None:
        injector = Injector(self.root)
        try:
            self._work(injector)
        finally:
            (self.folder / "operations.json").write_text(json.dumps(injector.trace))
            (self.folder / "modules.json").write_text(json.dumps(list(sys.modules)))

    def _work(self, injector: Injector | None) -> None:
        tempfile.tempdir = str(self.root / "tmp")
        if injector:
            injector.install()
        try:
            self.work.work(self.root)
        finally:
            if injector:
                injector.active = injector.fault != ""  # files that are closed later fail, too

    def run(self, injector: Injector | None = None) -> Ended:
        """Run the work in a forked process."""
        return in_child(lambda: self._work(injector), self.folder / "log")

    def digest(self) -> str:
        """Return the digest of the state on the disk, for work with more states than the files show."""
        if self.work.state_of is None:
            return ""
        return self._do(lambda: self.work.state_of(self.root)).out  # type: ignore[misc]

    def problems(self, fault: str, moment: int) -> Iterator[str]:
        """Yield what is wrong after a fault at an operation, and after running the work once more."""
        shutil.rmtree(self.root)
        shutil.copytree(self.folder / "before", self.root, symlinks=True)
        ended = self.run(Injector(self.root, fault, moment))
        found = tree(self.root)
        killed = fault in ("killed", "power cut")
        if killed and ended.status != -9:
            yield f"was not killed: {ended}"
        if not killed:
            yield from self.message_problems(ended, found, fault, moment)
        try:
            whole = self.is_whole(found)
        except AssertionError as error:
            whole, _ = False, (yield f"nothing can be read: {error}")
        if not whole:
            yield f"neither the old state nor the new: {differences(found, self.before, self.after)}"
        if not killed and not self.cannot_remove(fault, moment) and (left := self.left_behind(found)):
            yield f"left behind: {left}"
        if found not in (self.before, self.after):
            again = self.run()
            if again.status and not (again.status == 2 and "already" in again.err):
                yield f"cannot be repeated: {again}"
            elif tree(self.root) != self.after:
                yield f"not the new state after a repeat: {differences(tree(self.root), self.after, self.after)}"

    def cannot_remove(self, fault: str, moment: int) -> bool:
        """Return whether the fault keeps the work from removing its leftovers."""
        return fault in ("read-only", "forbidden") or (fault == "broken" and self.operations[moment - 1][0] in REMOVALS)

    def message_problems(self, ended: Ended, found: Tree, fault: str, moment: int) -> Iterator[str]:
        """Yield what is wrong with the end of the work: if it could not write, it must print one sentence."""
        lines = [line for line in ended.err.splitlines() if line not in self.usual_messages]
        if ended.status == 0:
            if lines:
                yield f"messages without an error: {lines}"
            if not self.cannot_remove(fault, moment) and found != self.after:
                yield f"no error, but not the new state: {differences(found, self.after, self.after)}"
        elif ended.status != 2 or len(lines) != 1:
            yield f"ended with {ended}"
        elif not re.match(
            rf"gtzan-stream: {self.root}\S*( cannot be written: |: .+; check the path|: cannot be unp)", lines[0]
        ):
            yield f"the message has no path: {lines[0]}"
        elif fault == "full" and not re.search(self.room_pattern(moment), lines[0]):
            yield f"the message lacks the room that is free and needed: {lines[0]}"

    def room_pattern(self, moment: int) -> str:
        """Return the end of the message of a full disk as a regular expression."""
        kind, path = self.operations[moment - 1]
        is_known = kind == "write" and not path.endswith(self.work.of_unknown_size)
        return (
            r"it needs about [\d,]+\.\d MB, " if is_known else ""
        ) + r"[\d,]+\.\d MB are free there: make room, or choose another folder$"

    def is_whole(self, found: Tree) -> bool:
        """Return whether the files are those of one state, before or after. Other files are leftovers."""
        before, after, first = files(self.before), files(self.after), (*self.work.kept, self.work.first)
        known = {path: data for path, data in files(found).items() if path in before or path in after}
        if self.work.each_file:
            versions = [[state[path] for state in (before, after) if path in state] for path in known]
            there = all(data in version for data, version in zip(known.values(), versions, strict=True))
            return there and before.keys() & after.keys() <= known.keys()
        begun = {path: after[path] for path in known if path in first and path in after}
        return known in (before, before | begun, after) or (self.digests != ("", "") and self.digest() in self.digests)

    def left_behind(self, found: Tree) -> list[str]:
        """Return the paths that were not there before and do not belong to the present state."""
        if found == self.before:
            return []
        is_new = self.digests[1] and self.digest() == self.digests[1]
        known = self.before.keys() | set(self.work.kept)
        if is_new or found == self.after:
            known |= self.after.keys()
        if self.work.each_file:
            known |= files(self.after).keys()  # not the folders: an empty one is a leftover
        new = [path for path in found if path not in known and not (is_new and "/.incoming" in path)]
        return [path for path in new if not any(other.startswith(path + "/") for other in found.keys() & known)]


def files(state: Tree) -> Tree:
    return {path: data for path, data in state.items() if data is not None}


def warm_up(modules: list[str]) -> None:
    """Do once what each forked process would repeat: import modules, fill caches, collect garbage."""
    for name in modules:
        with suppress(Exception):
            importlib.import_module(name)
    for few in ([], {}.values(), (x for x in "")):
        Counter(few)
    gc.collect()
    gc.freeze()


def differences(found: Tree, *states: Tree) -> str:
    known = set().union(*states)
    extra, missing = sorted(found.keys() - known), sorted(known - found.keys())
    other = sorted(path for path in found.keys() & known if all(found[path] != state.get(path) for state in states))
    return f"more: {extra}, missing: {missing}, other bytes: {other}"


def moments(operations: list[tuple[str, str]], fault: str, *, every: bool) -> list[int]:
    """Return the numbers of the operations at which `fault` makes a difference.

    Unless `every` is true, return only the first and the last of similar operations, such as the writes to one file or
    the files of one folder. Of those, return every third if nothing can be removed, which ends like a kill, and of many
    every second; disk errors take those that kills leave out.
    """
    similar: dict[tuple[str, str], list[int]] = {}
    renamed = False
    for number, (kind, path) in enumerate(operations, 1):
        renamed |= kind == "rename"
        if (fault == "full" and kind not in NEEDS_ROOM) or (fault == "power cut" and not renamed):
            continue  # the same as at the next operation, or as a kill
        similar.setdefault((kind, path if kind == "write" else os.path.dirname(path)), []).append(number)
    if every:
        return sorted(number for numbers in similar.values() for number in numbers)
    chosen = sorted({number for numbers in similar.values() for number in (numbers[0], numbers[-1])})
    if fault in ("read-only", "forbidden"):
        return chosen[::3]
    return chosen if len(chosen) < 8 else chosen[fault not in ("killed", "power cut") :: 2]


def interrupt(folder: Path, names: Sequence[str], *options: str) -> dict[str, dict[str, Any]]:
    """Run this program in a subprocess with one thread, and return what it prints."""
    program = [sys.executable, "-m", "tests.interrupted", str(folder), *names, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def main() -> None:
    """Print as JSON how many operations were interrupted, and what is wrong, for each piece of work and fault."""
    folder, every, names = Path(sys.argv[1]), "every" in sys.argv, [name for name in sys.argv[2:] if name in WORK]
    if "model" in names:
        trace()
    results = {}
    for name in names:
        trial = Trial(WORK[name], folder / name.replace(" ", "-"))
        for fault in FAULTS if every else WORK[name].faults:
            if fault == "power cut" and not WORK[name].durable:
                continue
            chosen = moments(trial.operations, fault, every=every)
            wrong = [
                f"{fault} at {moment}, {' '.join(trial.operations[moment - 1])}: {problem}"
                for moment in chosen
                for problem in trial.problems(fault, moment)
            ]
            results[f"{name}: {fault}"] = {"interrupted": len(chosen), "operations": trial.operations, "wrong": wrong}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
