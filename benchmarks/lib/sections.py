"""Render the sections of report.md from results' JSON, with a function for each benchmark."""

from collections.abc import Callable
from typing import Any

from benchmarks.lib import accuracy_table, contest, figures, service_table, sound_table, tables
from benchmarks.lib.common import markdown
from gtzan_stream.training import report as training_report

Result = dict[str, Any]


def on_machine(result: Result) -> str:
    """Say in one sentence on which machine and with which versions a result was measured."""
    machine = result["machine"]
    gpu = "" if machine["device"] == "cpu" else f" and {machine['device']}"
    load = "" if machine["load"] is None else f", load {machine['load']} at the end"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return (
        f"{machine['cores']} cores of {machine['processor']}{gpu}, at commit {machine['commit']} on "
        f"{machine['date']}{load}; Python {machine['python']}, {versions}."
    )


def compared(result: Result) -> str:
    """Render a contest of several libraries."""
    settings, rows = result["settings"], result["rows"]
    parameters = {row["operation"]: row["parameters"] for row in rows}
    notes = {(row["operation"], row["library"]): row["note"] for row in rows if row["note"]}
    return "\n".join(
        [
            f"{settings['clips']} clips of {settings['clip_s']:.0f} s; all libraries in turn, {settings['rounds']} "
            "rounds; medians. `times ours` is the library's time over ours in the same round. `error` compares the "
            "float32 result with the same computed in float64, `from librosa` with librosa's result in float64; both "
            "are root mean squares, relative to the reference.",
            "",
            "Parameters: " + "; ".join(f"{operation}: {words}" for operation, words in parameters.items()) + ".",
            "",
            markdown(*tables.contest(rows)),
            *([""] if notes else []),
            *(f"\\* {operation}, {library}: {note}.  " for (operation, library), note in notes.items()),
        ]
    )


def of_costs(result: Result) -> str:
    """Render the time of each augmentation and that of the fastest other library."""
    cells = []
    for ours in (row for row in result["rows"] if row["library"] == contest.OURS and row["cores"] in (1, "GPU")):
        peer = contest.fastest_peer(result["rows"], ours["operation"], ours["cores"])
        theirs = [figures.milliseconds(peer["ms_per_clip"]["median"]), peer["library"]] if peer else ["", "none has it"]
        cells.append([ours["operation"], figures.milliseconds(ours["ms_per_clip"]["median"]), *theirs])
    where = "one core" if result["machine"]["device"] == "cpu" else "the GPU"
    columns = ["", "ms a clip", "fastest other library, ms a clip", "library"]
    return f"For a clip of {result['settings']['clip_s']:.0f} s on {where}:\n\n" + markdown(columns, cells)


def of_pitch_cost(result: Result) -> str:
    ours = [row["times_cost_at_0"] for row in result["rows"] if row["library"] == contest.OURS]
    return (
        f"A shift of any size within an octave costs {min(ours):.2f} to {max(ours):.2f} times one of 0 semitones. "
        "torchaudio's filters grow with the ratio's whole numbers; over 20 million coefficients were not timed.\n\n"
        + markdown(*tables.pitch_cost(result["rows"]))
    )


def of_throughput(result: Result) -> str:
    settings = result["settings"]
    return (
        f"Batches of {settings['batch_size']} crops of {settings['crop_s']:.1f} s, num_workers: "
        f"{settings['num_workers']}. Each stage alone on its batch, then the loader as a trainer gets it.\n\n"
        + markdown(*tables.throughput(result["rows"]))
    )


def of_sweep(result: Result) -> str:
    settings = result["settings"]
    return (
        "The loader with the recipe `study`. One setting at a time differs from "
        f"{settings['num_workers']} worker{'s' * (settings['num_workers'] != 1)}, batches of "
        f"{settings['batch_size']}, crops of 128 frames, and WAV.\n\n" + markdown(*tables.sweep(result["rows"]))
    )


def of_baseline(result: Result) -> str:
    settings = result["settings"]
    return (
        f"Batches of {settings['batch_size']}; the other loader has {settings['their_workers']} worker processes "
        f"and {settings['shards']} shards. `times ours` is its time for a crop over ours.\n\n"
        + markdown(*tables.baseline(result["rows"]))
    )


def of_scale(result: Result) -> str:
    kind = "cpu" if result["machine"]["device"] == "cpu" else "gpu"
    resume = ", ".join(f"{ms['median']:.1f} ms at {where}" for where, ms in result["settings"]["resume_ms"].items())
    return (
        "From opening the folder to the plan of the first batch, in a new process, without its imports.\n\n"
        + markdown(*tables.scale(result["rows"]))
        + f"\n\n![Seconds and megabytes against the number of clips](results/scale-{kind}.png)\n\n"
        f"A resumed loader yields its first batch after {resume}."
    )


def of_scaling(result: Result) -> str:
    return (
        f"Batches of {result['settings']['batch_size']} on the CPU. Only the figures under `measured` were measured; "
        "the rest is a model, made of the measured time per row on one core, and the time for which a thread holds "
        "Python's lock (the GIL).\n\n" + markdown(*tables.scaling(result["rows"]))
    )


def of_fleet(result: Result) -> str:
    settings = result["settings"]
    best = ", ".join(f"{bits:.1f} bits of {name}" for name, bits in settings["ideal_entropy"].items())
    return (
        f"{settings['clips']:,} clips in {settings['shards']:,} shards; {settings['ranks']:,} ranks on "
        f"{settings['nodes']} nodes, {settings['rows_per_rank']} rows a rank. The downloads are those of "
        "the node that downloads most, those of epoch 2 are node 0's. Sizes of caches are relative to a node's even "
        f"share of the set, {1 / settings['nodes']:.2%}.\n\n"
        + markdown(*tables.fleet(result["rows"]))
        + "\n\n![Entropy of shards and labels in a batch](../benchmarks/results/fleet-cpu.png)\n\n"
        f"A batch drawn from the whole set has {best}."
    )


def of_floor(result: Result) -> str:
    return (
        "The floor is the time that this GPU takes to copy the least memory that a stage must move, at "
        f"{result['settings']['copy_tb_per_s']:.2f} TB/s; {result['settings']['clips']} clips of 30 s at once.\n\n"
        + markdown(*tables.floor(result["rows"]))
    )


def of_soak(result: Result) -> str:
    settings = result["settings"]
    return (
        f"{settings['batches']:,} batches of {settings['batch_size']}, {settings['batches_an_epoch']:,} an epoch, "
        f"recipe `{settings['augment']}`. {figures.flatness(settings)}\n\n" + markdown(*tables.soak(result["rows"]))
    )


def of_sounds(result: Result) -> str:
    """Render the figures of time stretches that a reader of the README needs."""
    return markdown(*sound_table.brief(result["rows"]))


def of_first_run(result: Result) -> str:
    (report,) = result["rows"]
    training = report["training"]
    accuracy = training_report.accuracies(report["test"])
    return (
        f"{accuracy}\n\n"
        f"{report['seconds']:.0f} s in all; {training['crops_per_second']:.0f} crops a second, "
        f"{training['data_wait_share']:.1%} of the time waiting for data."
    )


def of_demo(result: Result) -> str:
    """Render the accuracy of each network on the demo set, without and with augmentation."""
    settings, cells = result["settings"], {(row["row"], row["column"]): row for row in result["rows"]}
    names = list(dict.fromkeys(row["row"] for row in result["rows"]))
    rows = []
    for name in names:
        pair = [cells[name, augment] for augment in ("none", "study") if (name, augment) in cells]
        if len(pair) < 2:
            continue  # one of the runs diverged
        tracks = [accuracy_table.percent(cell["track_accuracy"], settings["seeds"]) for cell in pair]
        sizes = [f"{pair[0]['parameters']:,}", f"{pair[0]['steps'][0]:,.0f}"]
        rows.append([name, *sizes, *tracks, f"{pair[1]['seconds'][0] / 60:.1f}"])
    return (
        f"Share of the demo set's {settings['clips']['test']} test tracks that are classified correctly (they differ "
        f"from the training tracks in key, tempo, level and noise; seeds: {settings['seeds']}):\n\n"
        + markdown(["network", "parameters", "steps", "`--augment none`", "`--augment study`", "minutes"], rows)
    )


SECTIONS: dict[str, tuple[str, Callable[[Result], str]]] = {
    "throughput": ("The loader, stage by stage", of_throughput),
    "sweep": ("The loader's settings", of_sweep),
    "baseline": ("Compared with a loader made of other libraries", of_baseline),
    "augment": ("Augmentations compared with other libraries", compared),
    "pitch-cost": ("The cost of a pitch shift", of_pitch_cost),
    "sound": ("The sound of time stretches and pitch shifts", sound_table.section),
    "detect": ("Can a network hear a time stretch?", sound_table.of_detect),
    "features": ("Log-mel compared with other libraries", compared),
    "floor": ("Compared with the GPU's memory bandwidth", of_floor),
    "scaling": ("The loader on more cores: a model", of_scaling),
    "scale": ("Start-up and resume, up to ten million clips", of_scale),
    "soak": ("Ten thousand batches", of_soak),
    "service": ("The feature service", service_table.section),
    "first-run": ("The first training", of_first_run),
    "accuracy-models": (accuracy_table.TITLES["models"], accuracy_table.section),
    "accuracy-normalization": (accuracy_table.TITLES["normalization"], accuracy_table.section),
    "accuracy-optimizer": (accuracy_table.TITLES["optimizer"], accuracy_table.section),
    "accuracy-augmentation": (accuracy_table.TITLES["augmentation"], accuracy_table.section),
}
