"""Find the clips in a folder of music, and choose their labels, keys, groups and split before anything is decoded."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtzan_stream import audio
from gtzan_stream.catalog.splits import PART_OF, PARTS
from gtzan_stream.store.find_audio import find_audio_files
from gtzan_stream.store.groups import group_names
from gtzan_stream.store.issues import Issue
from gtzan_stream.store.keys import KeyParts, printable, unique_keys
from gtzan_stream.store.label_file import read_labels
from gtzan_stream.store.labels import FolderLevels, folder_levels, sorted_labels
from gtzan_stream.store.lookup import Lookup
from gtzan_stream.store.splits import SplitFiles, find_small_labels, load_splits
from gtzan_stream.words import count, first_few

_MAX_LABELS, _MAX_WARNINGS = 40, 10  # to show


@dataclass(frozen=True)
class Clip:
    """A file to pack: its path, its name relative to the source folder, its label, clip id and key."""

    path: Path
    name: str
    label: str
    clip_id: str
    key: str


@dataclass(frozen=True)
class Survey:
    """The clips of a folder, sorted by key.

    Attributes
    ----------
    src : Path
    clips : list of Clip
    lookup : Lookup
        Finds the clips that rows of label and split files refer to.
    folder_split : dict
        Part of each clip by key, from train, valid and test folders; empty if there are none.
    groups : dict
        Group of each clip that has one, by key.
    decisions : list of str
        How labels, split and groups were chosen, one line each.
    n_files : int
        Number of audio files found, including hidden ones and those without a label.
    report : list of Issue
        Files that were left out, folders that cannot be read, links that were not followed, and rows without a clip.
    """

    src: Path
    clips: list[Clip]
    lookup: Lookup
    folder_split: dict[str, str]
    groups: dict[str, str]
    decisions: list[str]
    n_files: int
    report: list[Issue] = field(default_factory=list)

    def describe(self) -> list[str]:
        """Describe clips, labels and keys with counts, in lines to read before packing."""
        counts = Counter(clip.label for clip in self.clips)
        labels = [f"{label} {counts[label]}" for label in sorted_labels(counts)]
        more = [f"and {len(labels) - _MAX_LABELS} more"] if len(labels) > _MAX_LABELS else []
        examples = self.clips[:: max(1, len(self.clips) // 3)][:3]
        return [
            f"{printable(str(self.src))}: {count(len(self.clips), 'clip')} of {count(len(labels), 'label')}",
            *self.decisions,
            "labels: " + ", ".join(labels[:_MAX_LABELS] + more),
            "keys: " + ", ".join(f"{clip.key} ({clip.name})" for clip in examples),
            *(f"warning: {warning}" for warning in self.warnings()),
        ]

    def warnings(self) -> list[str]:
        """List what may be wrong with the labels and clips."""
        labels = sorted_labels(clip.label for clip in self.clips)
        found = []
        if len(labels) == 1:
            found.append(f"there is a single label, {labels[0]}: choose another level with --label-depth, or --labels")
        if all(label.isdecimal() for label in labels):
            found.append(f"the labels are numbers, such as {labels[0]}; --label-depth chooses another level")
        if parts := [label for label in labels if label.lower() in PART_OF]:
            found.append(
                f"the label {parts[0]} is named like the part of a split, but not every folder beside it is: rename the"
                " others, or choose another level with --label-depth"
            )
        by_case = Counter(label.casefold() for label in labels)
        if alike := [label for label in labels if by_case[label.casefold()] > 1]:
            found.append(f"the labels {' and '.join(alike[:2])} differ in upper and lower case only")
        if n_files := audio.need_av([clip.name for clip in self.clips]):
            found.append(f"{count(n_files, 'file')} need the extra av, which is not installed: pip install av")
        small_labels = find_small_labels({clip.key: clip.label for clip in self.clips}, self.groups)
        left_out = [f"{issue.source}: {issue.detail}" if issue.source else issue.detail for issue in self.report]
        for details in (left_out, [issue.detail for issue in small_labels]):
            found += details[:_MAX_WARNINGS]
            if len(details) > _MAX_WARNINGS:
                found.append(f"and {len(details) - _MAX_WARNINGS} more like these")
        return found


def survey(
    src: str | Path,
    *,
    label_depth: int | None = None,
    labels: str | Path | None = None,
    group_by: int | str | None = None,
) -> Survey:
    """Find the clips of a folder, and choose their labels and keys; nothing is decoded.

    Parameters
    ----------
    src : folder
    label_depth : int, optional
        Level of the folders that are labels, 1 for the first below `src`. By default the first level with more than one
        folder, without levels of train, valid and test folders; if there is none, each clip's own folder.
    labels : path, optional
        CSV file of ``path,label`` or ``path,label,group`` rows. Clips that it does not name are left out. Keys still
        come from the folders, so that other labels do not change them.
    group_by : int or str, optional
        Level of folders, or regular expression with one capture group, that names each clip's group; by default the
        groups in the file `labels`, if any.

    Raises
    ------
    UserError
        If there is no audio, or an option does not match the folders and files in it.
    """
    root = Path(src)
    paths, report, n_hidden = find_audio_files(src)
    levels = folder_levels(paths, label_depth)
    folder_labels = {path: levels.label(path, root.resolve().name or "music") for path in paths}
    if labels is None:  # with a label file, files above the labels' level can have labels too
        report += [_above_labels(path, levels) for path, (label, _) in folder_labels.items() if label is None]
        folder_labels = {path: found for path, found in folder_labels.items() if found[0] is not None}
    # With a label file and no level of labels, every key would begin with the name of the source folder.
    keys_begin_with_label = labels is None or levels.label_level is not None
    key_parts = [
        KeyParts(path, depth, (label or "") if keys_begin_with_label else "")
        for path, (label, depth) in folder_labels.items()
    ]
    key_parts_of = dict(zip(unique_keys(key_parts), key_parts, strict=True))
    path_of = {key: parts.path for key, parts in key_parts_of.items()}
    lookup = Lookup(path_of)
    label_of = {key: printable(folder_labels[path][0] or "") for key, path in path_of.items()}
    groups: dict[str, str] = {}
    if labels is not None:
        file = read_labels(labels, lookup.find)
        label_of, groups = file.labels, file.groups
        report += _unmatched(labels, sorted(path_of[key] for key in path_of.keys() - label_of.keys()), file.unknown)
    path_of = {key: path_of[key] for key in sorted(label_of)}
    if group_by is not None:
        groups = group_names(path_of, group_by)
    split = {key: part for key, path in path_of.items() if (part := levels.part(path))}
    clips = [
        Clip(root / path, printable(path), label_of[key], key_parts_of[key].clip_id, key)
        for key, path in path_of.items()
    ]
    decisions = [
        _describe_labels(levels, label_depth, labels),
        *_describe_folder_split(levels, split, len(path_of)),
        *_describe_groups(groups, group_by, labels, len(path_of)),
    ]
    return Survey(root, clips, lookup, split, groups, decisions, len(paths) + n_hidden, report)


def survey_summary(found: Survey, files: SplitFiles = None) -> dict[str, Any]:
    """Describe what would be packed, as JSON can hold it, with the names that the summary of a set has.

    Returns
    -------
    dict
        The folder, the number of clips and of files left out, the number of clips by label and by part of the folders'
        split and of those in split files, decisions and warnings in words, the issues, and the file of each key.
    """
    keys = {clip.key for clip in found.clips}
    splits = {"folders": found.folder_split} if found.folder_split else {}
    splits |= load_splits(files, found.lookup)
    label_counts = Counter(clip.label for clip in found.clips)
    return {
        "src": printable(str(found.src)),
        "clips": len(found.clips),
        "left_out": found.n_files - len(found.clips),
        "labels": {label: label_counts[label] for label in sorted_labels(label_counts)},
        "splits": {name: dict(Counter(split[key] for key in split.keys() & keys)) for name, split in splits.items()},
        "decisions": found.decisions,
        "warnings": found.warnings(),
        "issues": dict(Counter(issue.kind for issue in found.report)),
        "report": [issue.as_dict() for issue in found.report],
        "keys": {clip.key: clip.name for clip in found.clips},
    }


def describe_splits(found: Survey, files: SplitFiles) -> list[str]:
    """Describe the splits of split files with counts, in lines to read before packing.

    Raises
    ------
    UserError
        If a file cannot be read, or names none of the clips.
    """
    keys = {clip.key for clip in found.clips}
    lines = []
    for name, split in load_splits(files, found.lookup).items():
        counts = Counter(part for key, part in split.items() if key in keys)
        line = f"split {name}: " + ", ".join(f"{part} {counts[part]}" for part in PARTS)
        n_unknown, n_missing = len(split.keys() - keys), len(keys - split.keys())
        line += f"; {count(n_unknown, 'row')} without a clip" if n_unknown else ""
        lines.append(line + (f"; {count(n_missing, 'clip')} without a row" if n_missing else ""))
    return lines


def _above_labels(path: str, levels: FolderLevels) -> Issue:
    """Report a file that is above the level of the labels."""
    detail = (
        f"left out: it lies above the folders of labels, which are at level {levels.label_level};"
        " move it into one of them"
    )
    return Issue("no label", "", printable(path), detail)


def _unmatched(file: str | Path, unlabelled: list[str], unknown: list[str]) -> list[Issue]:
    """Report the clips that a label file does not name, and the names in it that match no clip."""
    found = []
    if unlabelled:
        found.append(("no label", f"left out: {count(len(unlabelled), 'clip')} that {file} does not name", unlabelled))
    if unknown:
        found.append(("no such clip", f"{count(len(unknown), 'row')} of {file} without a clip in SRC", unknown))
    return [Issue(kind, "", "", f"{what}: {first_few(map(printable, names))}") for kind, what, names in found]


def _describe_labels(levels: FolderLevels, label_depth: int | None, file: str | Path | None) -> str:
    if file is not None:
        return f"labels are those of {file}"
    if levels.label_level is None:
        return "each clip's own folder is its label: no level of folders has more than one"
    why = "as --label-depth says" if label_depth is not None else "the first level with more than one"
    return f"labels are the folders of level {levels.label_level} below SRC, {why}"


def _describe_folder_split(levels: FolderLevels, split: dict[str, str], n_clips: int) -> list[str]:
    if not split:
        return []
    counts = Counter(split.values())
    line = f"split folders: {', '.join(f'{part} {counts[part]}' for part in PARTS if part in counts)} clips"
    line += f", by the folders of level {levels.split_levels[0]}"
    line += "" if "valid" in counts or "train" not in counts else "; 15 % of train will be valid"
    return [line + (f"; {count(n_clips - len(split), 'clip')} in none of them" if n_clips > len(split) else "")]


def _describe_groups(
    groups: dict[str, str], group_by: int | str | None, file: str | Path | None, n_clips: int
) -> list[str]:
    if not groups:
        return []
    alone = f"; {count(n_clips - len(groups), 'clip')} in none" if n_clips > len(groups) else ""
    origin = f"the column group of {file}" if group_by is None else f"--group-by {group_by}"
    return [
        f"groups: {len(set(groups.values()))}, by {origin}, such as {first_few(dict.fromkeys(groups.values()))}{alone}"
    ]
