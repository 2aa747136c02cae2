"""Compiled kernels behind `gtzan_stream.dsp`: numba for the CPU, Triton for CUDA.

The programs of a Triton kernel are numbered along one axis, those of a row side by side, because CUDA's other two axes
end at 65,535: fewer than the rows of a large batch, or the tiles of a long one.
"""

import hashlib
from pathlib import Path


def sources_digest() -> str:
    """Return a digest of the names and contents of all Python files in this folder; "" if none can be read."""
    digest, folder = hashlib.sha256(), Path(__file__).parent
    try:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.py"))}
    except OSError:
        return ""
    for name, content in files.items():
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:16] if files else ""


SOURCES = sources_digest()
"""Digest of the kernels that this process imports, computed before the first of them. They may be edited afterwards."""
