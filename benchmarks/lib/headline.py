"""The few figures at the top of the README, and the machine below each table of a document."""

from collections.abc import Mapping
from typing import Any

from benchmarks.lib.contest import OURS, fastest_peer
from benchmarks.lib.figures import milliseconds
from benchmarks.lib.sound_table import STRETCH
from benchmarks.lib.verdicts import stage

Result = dict[str, Any]


def briefly(result: Result) -> str:
    """Say on which machine and at which commit a result was measured; report.md also has the versions."""
    machine = result["machine"]
    gpu = "" if machine["device"] == "cpu" else f" and {machine['device']}"
    return f"{machine['cores']} cores of {machine['processor']}{gpu}, commit {machine['commit']}, {machine['date']}"


def headline(results: Mapping[str, Result]) -> str:
    """Render a line for the loader on each device, one for time stretches and one for the percussive part."""
    lines = []
    for kind in ("gpu", "cpu"):
        if result := results.get(f"throughput-{kind}"):
            row = stage(result, "loader, study")
            where = result["machine"]["device"] if kind == "gpu" else f"{result['machine']['cores']} CPU cores"
            lines.append(
                f"- **{where}**: shards become augmented log-mels at {row['times_real_time']:,.0f} times real time, "
                f"{row['crops_per_s']['median']:,.0f} crops of 3 s a second."
            )
    if result := results.get("sound-cpu"):
        rows = [row for row in result["rows"] if row.get("operation") == STRETCH and "ms_per_clip" in row]
        ms = {row["method"]: row["ms_per_clip"]["median"] for row in rows}
        lines.append(
            f"- **A time stretch** of 30 s takes {milliseconds(ms[OURS])} ms on one core, "
            f"{ms['librosa'] / ms[OURS]:.0f} times as fast as librosa, and keeps level and attacks."
        )
    if result := results.get("augment-cpu"):
        ours = [
            row for row in result["rows"] if (row["operation"], row["library"], row["cores"]) == ("percussive", OURS, 1)
        ]
        peer = fastest_peer(result["rows"], "percussive", 1)
        if ours and peer:
            lines.append(
                f"- **The percussive part** of 30 s takes {milliseconds(ours[0]['ms_per_clip']['median'])} ms on one "
                f"core, {peer['times_ours']['median']:.0f} times as fast as {peer['library']}."
            )
    return "\n".join(lines)
