"""Folders of compiled kernels: what their names depend on, and when they are removed."""

import os
import time
from pathlib import Path

import numba
import numpy as np
import pytest

from gtzan_stream.kernels import code_files

DAY_S = 24 * 3600


@pytest.mark.parametrize("name", ["OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT"])
def test_settings_of_numba_that_change_the_code_are_another_folder(name: str, monkeypatch: pytest.MonkeyPatch):
    folder = code_files.folder_for.__wrapped__
    before = folder("x86_64", "znver4", "+avx2")
    monkeypatch.setattr(numba.config, name, 1)
    one = folder("x86_64", "znver4", "+avx2")
    monkeypatch.setattr(numba.config, name, 2)
    assert one != folder("x86_64", "znver4", "+avx2") != before
    assert one.parent == before.parent


def test_the_platform_and_numpy_are_part_of_the_digest(monkeypatch: pytest.MonkeyPatch):
    folder = code_files.folder_for.__wrapped__
    names = [folder(platform, "generic", "").name for platform in ("x86_64-linux", "x86_64-darwin")]
    monkeypatch.setattr(np, "__version__", "0")
    names.append(folder("x86_64-linux", "generic", "").name)
    assert len(set(names)) == 3


def test_a_package_without_source_files_has_no_cache(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(code_files, "SOURCES", "")
    with pytest.raises(LookupError, match="source files"):
        code_files.folder_for.__wrapped__("x86_64", "znver4", "+avx2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a kernel."""
    folder = tmp_path / "kernels/numba0-lanes0"
    code_files.write(folder / "x.kernel", b"code")
    return folder


def test_only_folders_that_nobody_used_for_a_month_are_removed(folder: Path):
    parent, outside = folder.parent, folder.parent.parent / "outside"
    for path in (parent / "numba1-lanes0", parent / "numba2-lanes8", parent / "other", outside):
        path.mkdir(parents=True)
        (path / "x.kernel").write_bytes(b"x")
    (parent / "numba3-lanes0").symlink_to(outside)
    (parent / "numba4-lanes0").write_bytes(b"a file")
    now = time.time()
    for name in ("numba1-lanes0", "other", "numba4-lanes0", "../outside"):
        os.utime(parent / name, (now - 31 * DAY_S,) * 2)
    os.utime(parent / "numba2-lanes8", (now - 29 * DAY_S,) * 2)
    code_files.remove_unused.__wrapped__(folder.parent)
    left = sorted(path.name for path in parent.iterdir())
    assert left == ["numba0-lanes0", "numba2-lanes8", "numba3-lanes0", "numba4-lanes0", "other"]
    assert (outside / "x.kernel").exists()
