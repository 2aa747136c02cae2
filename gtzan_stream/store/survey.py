"""What a folder of music holds: its clips with label, key and group, and how they were chosen."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gtzan_stream import audio
from gtzan_stream.catalog.splits import PART_OF, PARTS
from gtzan_stream.store.find_audio import scan
from gtzan_stream.store.groups import group_names
from gtzan_stream.store.issues import Issue
from gtzan_stream.store.keys import KeyParts, printable, unique_keys
from gtzan_stream.store.label_file import read_labels
from gtzan_stream.store.labels import FolderLevels, folder_levels, sorted_labels
from gtzan_stream.store.lookup import Lookup
from gtzan_stream.store.splits import SplitFiles, load_splits, too_few
from gtzan_stream.words import count, first_few

_MOST_LABELS, _MOST_WARNINGS = 40, 10


@dataclass(frozen=True)
class Clip:
    """A file to pack: `path`, and its name relative to the source folder, its label, clip id and key."""

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
        Finds a clip by the names that files of labels and splits give it.
    folders : dict
        The part of each clip, by key, that train, valid and test folders say; empty if there are none.
    groups : dict
        The group of each clip, by key, that has one.
    choice : list of str
        How labels, split and groups were chosen, a line each.
    n_files : int
        Audio files that were found, hidden ones and those without a label too.
    report : list of Issue
        Files that were left out, and links that were not followed.
    """

    src: Path
    clips: list[Clip]
    lookup: Lookup
    folders: dict[str, str]
    groups: dict[str, str]
    choice: list[str]
    n_files: int
    report: list[Issue] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Describe the choice, with counts, for people to read before they pack."""
        counts = Counter(clip.label for clip in self.clips)
        labels = [f"{label} {counts[label]}" for label in sorted_labels(counts)]
        more = [f"and {len(labels) - _MOST_LABELS} more"] if len(labels) > _MOST_LABELS else []
        few = self.clips[:: max(1, len(self.clips) // 3)][:3]
        return [
            f"{printable(str(self.src))}: {count(len(self.clips), 'clip')} of {count(len(labels), 'label')}",
            *self.choice,
            "labels: " + ", ".join(labels[:_MOST_LABELS] + more),
            "keys: " + ", ".join(f"{clip.key} ({clip.name})" for clip in few),
            *(f"warning: {warning}" for warning in self.warnings()),
        ]

    def warnings(self) -> list[str]:
        """What may be wrong with the choice."""
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
        if needing := audio.need_av([clip.name for clip in self.clips]):
            found.append(f"{count(needing, 'file')} need the extra av, which is not installed: pip install av")
        few = too_few({clip.key: clip.label for clip in self.clips}, self.groups)
        lines = [f"{line.source}: {line.detail}" if line.source else line.detail for line in self.report]
        for kind in (lines, [line.detail for line in few]):
            found += kind[:_MOST_WARNINGS]
            if len(kind) > _MOST_WARNINGS:
                found.append(f"and {len(kind) - _MOST_WARNINGS} more like these")
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
        Level of the folders that are labels, 1 the first below `src`; by default the first level with more than one
        folder, levels of train, valid and test folders not counted; where there is none, each clip's own folder.
    labels : path, optional
        CSV file of ``path,label`` or ``path,label,group`` rows. Clips that it does not name are left out. The keys are
        those of the folders, whatever labels it gives.
    group_by : int or str, optional
        Level of folders, or a regular expression with one group, that names each clip's group; by default the groups of
        `labels`, if it has any.

    Raises
    ------
    UserError
        If there is no audio, or an option does not fit what there is.
    """
    root = Path(src)
    paths, report, n_hidden = scan(src)
    levels = folder_levels(paths, label_depth)
    placed = {path: levels.label(path, root.resolve().name or "music") for path in paths}
    if labels is None:
        report += [_above(path, levels) for path, (label, _) in placed.items() if label is None]
        placed = {path: place for path, place in placed.items() if place[0] is not None}
    in_front = labels is None or levels.label_level is not None
    names = [KeyParts(path, depth, (label or "") if in_front else "") for path, (label, depth) in placed.items()]
    named = dict(zip(unique_keys(names), names, strict=True))
    by_key = {key: name.path for key, name in named.items()}
    lookup = Lookup(by_key)
    label_of = {key: printable(placed[path][0] or "") for key, path in by_key.items()}
    groups: dict[str, str] = {}
    if labels is not None:
        table = read_labels(labels, lookup.find)
        label_of, groups = table.labels, table.groups
        report += _not_matched(labels, sorted(by_key[key] for key in by_key.keys() - label_of.keys()), table.unknown)
    kept = {key: by_key[key] for key in sorted(label_of)}
    if group_by is not None:
        groups = group_names(kept, group_by)
    parts = {key: part for key, path in kept.items() if (part := levels.part(path))}
    clips = [Clip(root / path, printable(path), label_of[key], named[key].clip_id, key) for key, path in kept.items()]
    choice = [
        _label_choice(levels, label_depth, labels),
        *_split_choice(levels, parts, len(kept)),
        *_group_choice(groups, group_by, labels, len(kept)),
    ]
    return Survey(root, clips, lookup, parts, groups, choice, len(paths) + n_hidden, report)


def split_lines(found: Survey, files: SplitFiles) -> list[str]:
    """Describe the splits of files, with counts, for people to read before they pack.

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
        unknown, without = len(split.keys() - keys), len(keys - split.keys())
        line += f"; {count(unknown, 'row')} without a clip" if unknown else ""
        lines.append(line + (f"; {count(without, 'clip')} without a row" if without else ""))
    return lines


def _above(path: str, levels: FolderLevels) -> Issue:
    detail = (
        f"left out: it lies above the folders of labels, which are at level {levels.label_level};"
        " move it into one of them"
    )
    return Issue("no label", "", printable(path), detail)


def _not_matched(file: str | Path, without: list[str], unknown: list[str]) -> list[Issue]:
    found = []
    if without:
        found.append(("no label", f"left out: {count(len(without), 'clip')} that {file} does not name", without))
    if unknown:
        found.append(("no such clip", f"{count(len(unknown), 'row')} of {file} that names no clip of SRC", unknown))
    return [Issue(kind, "", "", f"{what}: {first_few(map(printable, names))}") for kind, what, names in found]


def _label_choice(levels: FolderLevels, label_depth: int | None, file: str | Path | None) -> str:
    if file is not None:
        return f"labels are those of {file}"
    if levels.label_level is None:
        return "each clip's own folder is its label: no level of folders has more than one"
    why = "as --label-depth says" if label_depth is not None else "the first level with more than one"
    return f"labels are the folders of level {levels.label_level} below SRC, {why}"


def _split_choice(levels: FolderLevels, parts: dict[str, str], clips: int) -> list[str]:
    if not parts:
        return []
    counts = Counter(parts.values())
    line = f"split folders: {', '.join(f'{part} {counts[part]}' for part in PARTS if part in counts)} clips"
    line += f", by the folders of level {levels.split_levels[0]}"
    line += "" if "valid" in counts or "train" not in counts else "; 15 % of train will be valid"
    return [line + (f"; {count(clips - len(parts), 'clip')} in none of them" if clips > len(parts) else "")]


def _group_choice(groups: dict[str, str], group_by: int | str | None, file: str | Path | None, clips: int) -> list[str]:
    if not groups:
        return []
    alone = f"; {count(clips - len(groups), 'clip')} in none" if clips > len(groups) else ""
    origin = f"the column group of {file}" if group_by is None else f"--group-by {group_by}"
    return [
        f"groups: {len(set(groups.values()))}, by {origin}, such as {first_few(dict.fromkeys(groups.values()))}{alone}"
    ]
