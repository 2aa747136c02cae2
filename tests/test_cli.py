"""The command line: what it prints to stdout and stderr, and its exit codes."""

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gtzan_stream import __version__, audio, console, demo
from gtzan_stream.cli import main
from gtzan_stream.commands.options import Codec
from gtzan_stream.store.manifest import Manifest

ROOT = Path(__file__).parent.parent


class Result(NamedTuple):
    """The output of a command."""

    stdout: str
    stderr: str


Run = Callable[..., Result]


@pytest.fixture
def gtzan_stream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line as its entry point does, and check its exit code."""

    def run(*arguments: object, code: int = 0) -> Result:
        monkeypatch.setattr(console.out, "width", 200)
        monkeypatch.setattr(sys, "argv", ["gtzan-stream", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        result = Result(*capsys.readouterr())
        assert (ended.value.code or 0) == code, result.stderr
        return result

    return run


class InterruptImport:
    """Import finder that raises KeyboardInterrupt, like Ctrl-C during an import."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "gtzan_stream.store.summary":
            raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["at the beginning", "in an import", "in a command"])
def test_ctrl_c_gives_one_line_and_exit_code_130(gtzan_stream: Run, shards: Path, monkeypatch, moment: str):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if moment == "in an import":
        monkeypatch.delitem(sys.modules, "gtzan_stream.store.summary", raising=False)
        monkeypatch.setattr(sys, "meta_path", [InterruptImport(), *sys.meta_path])
    else:
        owner, name = (console, "escape_unprintable") if moment == "at the beginning" else (Manifest, "open")
        monkeypatch.setattr(owner, name, stop)
    saved = "" if moment == "at the beginning" else "; the same command starts from the beginning"
    assert gtzan_stream("info", shards, code=130) == ("", f"gtzan-stream: interrupted{saved}\n")


def test_help_lists_the_commands_without_loading_torch():
    code = "import sys; sys.argv[1:] = ['--help']; from gtzan_stream.cli import app; app(standalone_mode=False)"
    check = f"{code}; assert not {{'torch', 'pyarrow', 'soundfile'}} & set(sys.modules), 'slow import'"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for command in ("demo", "fetch", "pack", "index", "info", "verify", "preview", "classify", "serve"):
        assert f" {command} " in done.stdout


def test_the_version_is_printed_without_loading_torch():
    check = "import sys; from gtzan_stream.cli import main; main()"
    code = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {check}"
    done = subprocess.run([sys.executable, "-c", code, "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == (f"gtzan-stream {__version__}\nFalse\n", 0)


def test_python_m_gtzan_stream_is_the_command_line(tmp_path: Path):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gtzan_stream", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert "python -m gtzan_stream" in run("--help").stdout
    failed = run("info", str(tmp_path / "nowhere"))
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"gtzan-stream: {tmp_path / 'nowhere'} does not exist")


def test_the_command_line_offers_every_codec():
    assert [*Codec] == [*audio.CODECS]


def test_pack_info_and_verify(gtzan_stream: Run, clips_folder: Path, tmp_path: Path):
    (tmp_path / "mine.csv").write_text("key,part\nblues_00000,train\njazz_00001,test\n")
    options = ["--splits", tmp_path / "mine.csv", "--codec", "flac", "--shard-mb", "0.2", "--num-workers", "2"]
    options += ["--sample-rate", "8000", "--name", "ours"]
    packed = gtzan_stream("pack", clips_folder, tmp_path / "shards", *options)
    assert "11 clips" in packed.stdout
    assert "mine" in packed.stdout
    assert gtzan_stream("info", tmp_path / "shards").stdout == packed.stdout
    metadata = json.loads(gtzan_stream("info", "--json", tmp_path / "shards").stdout)
    assert metadata["clips"] == 11
    assert metadata["labels"] == {"blues": 4, "jazz": 3, "metal": 4}
    assert metadata["encodings"] == {"flac": 11}
    assert metadata["splits"]["mine"] == {"train": 1, "test": 1}
    manifest = Manifest.open(tmp_path / "shards")
    assert metadata["digest"] == manifest.digest
    assert (manifest.dataset, manifest.sample_rate) == ("ours", 8000)
    assert len(manifest.shards) > 1
    assert "are as the manifest says" in gtzan_stream("verify", tmp_path / "shards").stdout


def test_verify_names_each_damaged_clip(gtzan_stream: Run, shards: Path, tmp_path: Path):
    shutil.copytree(shards, tmp_path / "shards")
    manifest = Manifest.open(tmp_path / "shards")
    with (tmp_path / "shards" / manifest.shards[0].name).open("r+b") as file:
        file.seek(int(manifest.data_offset[0]))
        file.write(b"\1\2\3\4")
    done = gtzan_stream("verify", tmp_path / "shards", code=1)
    assert f"{manifest.shards[0].name}, key {manifest.keys[0]}: its sha256 differs from the manifest's" in done.stderr
    with (tmp_path / "shards" / manifest.shards[-1].name).open("r+b") as file:
        file.truncate(1000)
    done = gtzan_stream("verify", tmp_path / "shards", code=1)  # other commands refuse shards of another size
    assert f"{manifest.shards[0].name}, key {manifest.keys[0]}: its sha256" in done.stderr
    assert f"{manifest.shards[-1].name}, key {manifest.keys[-1]}: " in done.stderr


def test_index_prints_the_shards(gtzan_stream: Run, shards: Path, tmp_path: Path):
    for path in shards.glob("*.tar"):
        shutil.copy(path, tmp_path)
    (tmp_path / "mine.csv").write_text("key,part\nblues_00000,train\njazz_00001,test\n")
    assert "11 clips" in gtzan_stream("index", tmp_path, "--splits", tmp_path / "mine.csv").stdout
    assert Manifest.open(tmp_path).split_counts["mine"] == {"train": 1, "test": 1}


def test_pack_prints_its_report(gtzan_stream: Run, clips_folder: Path, tmp_path: Path):
    (tmp_path / "src/rock").mkdir(parents=True)
    shutil.copy(clips_folder / "jazz/jazz.00000.wav", tmp_path / "src/rock/a.wav")
    (tmp_path / "src/rock/[b].wav").write_text("no audio")
    done = gtzan_stream("pack", tmp_path / "src", tmp_path / "shards")
    assert "unreadable" in done.stdout
    assert "rock/[b].wav" in done.stdout
    assert gtzan_stream("pack", tmp_path / "src", tmp_path / "shards", "--on-error", "fail", code=2).stdout == ""


def test_a_dry_run_prints_labels_and_groups_and_packs_nothing(gtzan_stream: Run, clips_folder: Path, tmp_path: Path):
    options = ["--label-depth", "1", "--group-by", r"(\d)\.wav"]
    done = gtzan_stream("pack", clips_folder, tmp_path / "shards", "--dry-run", *options)
    assert f"{clips_folder}: 11 clips of 3 labels" in done.stdout
    assert "labels are the folders of level 1 below SRC, as --label-depth says" in done.stdout
    assert "groups: 4, by --group-by" in done.stdout
    assert "labels: blues 4, jazz 3, metal 4" in done.stdout
    assert not (tmp_path / "shards").exists()
    packed = gtzan_stream("pack", clips_folder, tmp_path / "shards", *options)
    assert all(line in packed.stderr for line in done.stdout.splitlines())


def test_a_dry_run_checks_the_splits(gtzan_stream: Run, clips_folder: Path, tmp_path: Path):
    (tmp_path / "mine.csv").write_text("file,set\nblues.00000.wav,train\njazz.00000.wav,val\nnope,test\n")
    done = gtzan_stream("pack", clips_folder, tmp_path / "shards", "--dry-run", "--splits", tmp_path / "mine.csv")
    assert done.stdout.endswith("split mine: train 1, valid 1, test 0; 1 row without a clip; 9 clips without a row\n")
    (tmp_path / "mine.csv").write_text("nope,test\n")
    where = [tmp_path / "shards", "--dry-run", "--splits"]
    done = gtzan_stream("pack", clips_folder, *where, tmp_path / "mine.csv", code=2)
    assert "none of its 1 rows names a clip of SRC" in done.stderr
    assert "none.csv" in gtzan_stream("pack", clips_folder, *where, tmp_path / "none.csv", code=2).stderr


def test_a_dry_run_counts_files_that_need_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from gtzan_stream.store.survey import survey

    for name in ("a.m4a", "b.WMA", "c.wav"):
        (tmp_path / "rock").mkdir(exist_ok=True)
        (tmp_path / "rock" / name).write_bytes(b"sound")
    need = "2 files need the extra av, which is not installed: pip install av"
    assert need not in survey(tmp_path).warnings()
    monkeypatch.setitem(sys.modules, "av", None)
    assert need in survey(tmp_path).warnings()


def test_pack_reads_labels_from_a_file(gtzan_stream: Run, clips_folder: Path, tmp_path: Path):
    (tmp_path / "labels.csv").write_text("blues.00000,one\njazz.00000,two\n")
    gtzan_stream("pack", clips_folder, tmp_path / "shards", "--labels", tmp_path / "labels.csv")
    assert Manifest.open(tmp_path / "shards").labels == ["one", "two"]


MISTAKES = {
    "no shards": (
        ["info", "nowhere"],
        "gtzan-stream: nowhere does not exist: fill it with `gtzan-stream demo nowhere`",
    ),
    "no music": (["pack", "nowhere", "shards"], "gtzan-stream: nowhere is not a folder"),
    "shards in the music": (
        ["pack", ".", "shards"],
        "shards lies in ., the folder of the music: choose",
    ),
    "music in the shards": (["pack", "music", ".", "--dry-run"], ". holds music, the folder of the music"),
    "no split file": (["pack", "music", "shards", "--splits", "nowhere.csv"], "nowhere.csv"),
    "codec": (["pack", "music", "shards", "--codec", "mp3"], "'wav', 'flac'"),
    "rate": (["pack", "music", "shards", "--sample-rate", "10"], "sample_rate must be at least 1000, got 10"),
    "num_workers": (["pack", "music", "shards", "--num-workers", "0"], "--num-workers"),
    "nothing to index": (["index", "."], "holds no *.tar shards"),
    "no archive": (["fetch", ".", "--url", "file:///nowhere/genres.tar.gz"], "by hand"),
    "a file instead of a folder": (["demo", "file"], "file"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_gives_a_short_error(
    gtzan_stream: Run, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "music").mkdir()
    (tmp_path / "music/a.wav").write_text("no audio")
    (tmp_path / "file").touch()
    done = gtzan_stream(*arguments, code=2)
    assert message in done.stderr
    assert done.stdout == ""


def test_fetched_clips_can_be_packed(gtzan_stream: Run, clips_folder: Path, tmp_path: Path):
    archive = tmp_path / "genres.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(clips_folder, "genres")
    fetched = gtzan_stream("fetch", tmp_path / "data", "--url", archive.as_uri())
    assert "0 of 1000 clips are identical to the original GTZAN" in fetched.stdout
    assert f"`gtzan-stream pack {tmp_path / 'data'} shards/`" in fetched.stdout
    assert "11 clips" in gtzan_stream("pack", tmp_path / "data", tmp_path / "shards").stdout
    as_json = json.loads(gtzan_stream("fetch", tmp_path / "data", "--url", archive.as_uri(), "--json").stdout)
    assert (as_json["folder"], as_json["archive"]) == (str(tmp_path / "data"), str(tmp_path / "data/genres.tar.gz"))
    assert (as_json["identical"], len(as_json["missing"]), len(as_json["different"])) == (0, 989, 11)


def test_the_demo_has_its_split(gtzan_stream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write, seeds = demo.write, []

    def few(folder: Path, *, seed: int, progress: Callable[..., None]) -> tuple[Path, Path]:
        seeds.append(seed)
        return write(folder, seed=seed, progress=progress, train=2, valid=1, test=1, clip_s=1.0)

    monkeypatch.setattr(demo, "write", few)
    assert json.loads(gtzan_stream("demo", tmp_path / "shards", "--seed", "3", "--json").stdout)["clips"] == 40
    assert seeds == [3]
    manifest = Manifest.open(tmp_path / "shards")
    assert manifest.dataset == "demo"
    assert len(manifest.labels) == 10
    assert list(manifest.parts_by_split()["demo"]) == ["train", "valid", "test"]
    metadata = json.loads((tmp_path / "shards/manifest.json").read_text())
    (tmp_path / "shards/manifest.json").write_text(json.dumps(metadata | {"dataset": "ours"}))
    assert "holds another data set: choose another" in gtzan_stream("demo", tmp_path / "shards", code=2).stderr
