"""Files that were once read incorrectly, in all code that reads files: packing, indexing and classifying."""

import sys
from pathlib import Path

import pytest

from gtzan_stream import audio
from gtzan_stream.cli import main
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.inference import export
from gtzan_stream.inference.classify import classify
from gtzan_stream.store.index import index
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.verify import verify
from tests.audio_files import MP3_FRAME, N, encoded, mp3, tone, wav, without_tag
from tests.test_classify import LABELS, trained
from tests.test_scan_shards import tar

N_FRAMES = -(-(N + 1105) // MP3_FRAME) * MP3_FRAME
SOUNDS = {  # data, number of samples, kinds of issues
    "vbr.mp3": (without_tag(mp3("VARIABLE")), N_FRAMES, []),
    "cbr.mp3": (without_tag(mp3("CONSTANT")), N_FRAMES, []),
    "gsm.wav": (encoded(tone(65_900, hz=300), "WAV", "GSM610"), 206 * 320, []),
    "g721.au": (encoded(tone(hz=500), "AU", "G721_32"), 66240, []),
    "open.wav": (wav(32767 * tone(hz=600), size=0), N, []),
    "half.flac": ((whole := encoded(tone(hz=700), "FLAC", "PCM_16"))[: len(whole) // 2], None, ["truncated"]),
    "1hz.wav": (wav(32767 * tone(hz=800), rate=1), 0, ["unreadable"]),
    "fine.wav": (wav(32767 * tone(hz=900)), N, []),
}


def lengths(manifest: Manifest) -> dict[str, int]:
    return dict(zip(manifest.keys.to_pylist(), manifest.frames.tolist(), strict=True))


def check(manifest: Manifest) -> None:
    """Check the lengths of the clips `rock_<name>`, and that only their real issues are reported."""
    found = lengths(manifest)
    for name, (_, expected, kinds) in SOUNDS.items():
        key = f"rock_{Path(name).stem}"
        assert [line["kind"] for line in manifest.report if line["key"] == key] == kinds, name
        if expected is None:
            assert 0 < found[key] < N, name
        else:
            assert found.get(key, 0) == expected, name
    assert manifest.left_out == 1


def test_files_that_once_failed_are_packed(tmp_path: Path):
    (tmp_path / "src/rock").mkdir(parents=True)
    for name, (data, _, _) in SOUNDS.items():
        (tmp_path / "src/rock" / name).write_bytes(data)
    manifest = pack(tmp_path / "src", tmp_path / "out")
    check(manifest)
    assert manifest.direct.all()
    assert verify(manifest) == []


def test_files_that_once_failed_are_indexed(tmp_path: Path):
    tar(tmp_path / "x.tar", [(f"rock_{name}", data) for name, (data, _, _) in SOUNDS.items()])
    manifest = index(tmp_path)
    check(manifest)
    assert verify(manifest) == []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> export.Model:
    return trained(tmp_path_factory.mktemp("model"), "cnn2d", LogMel(), shards)[1]


@pytest.mark.parametrize("name", SOUNDS)
def test_files_that_once_failed_are_classified(name: str, model: export.Model, tmp_path: Path):
    data, expected, kinds = SOUNDS[name]
    (tmp_path / name).write_bytes(data)
    if expected == 0:
        with pytest.raises(UserError, match=f"{name}: its header says 1 Hz"):
            classify(model, tmp_path / name)
        return
    track = classify(model, tmp_path / name)
    assert track.labels == LABELS
    assert track.duration_s == pytest.approx(len(audio.decode(data)[0]) / 22050)
    assert bool(track.damage) == ("truncated" in kinds)
    assert ("damage" in track.to_dict()) == ("truncated" in kinds)


def test_classify_reports_missing_audio(
    model: export.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(export.Model, "load", lambda path: model)
    for name in ("half.flac", "fine.wav"):
        (tmp_path / name).write_bytes(SOUNDS[name][0])
    command = ["gtzan-stream", "classify", "model.pt2", str(tmp_path / "half.flac"), str(tmp_path / "fine.wav")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"gtzan-stream: {tmp_path}/half.flac: it breaks off after ")
    assert line.endswith("; the rest was classified")


def test_the_same_samples_under_two_labels_are_a_conflict(tmp_path: Path):
    for label in ("jazz", "rock"):
        (tmp_path / "src" / label).mkdir(parents=True)
        (tmp_path / "src" / label / "01.wav").write_bytes(wav(32767 * tone()))
    (tmp_path / "src/rock/02.wav").write_bytes(wav(32767 * tone()))
    report = pack(tmp_path / "src", tmp_path / "out").report
    found = {line["key"]: (line["kind"], line["source"], line["detail"]) for line in report if "same" in line["detail"]}
    assert found == {
        "rock_01": (
            "conflict",
            "rock/01.wav",
            "the same samples as jazz_01 (jazz/01.wav), but another label: rock here, jazz there",
        ),
        "rock_02": (
            "conflict",
            "rock/02.wav",
            "the same samples as jazz_01 (jazz/01.wav), but another label: rock here, jazz there",
        ),
    }


def test_a_file_next_to_its_macos_metadata_file_is_packed(tmp_path: Path):
    (tmp_path / "src/rock").mkdir(parents=True)
    (tmp_path / "src/rock/song.mp3").write_bytes(mp3())
    (tmp_path / "src/rock/._song.mp3").write_bytes(b"\0\5\x16\7" + bytes(50))
    manifest = pack(tmp_path / "src", tmp_path / "out")
    assert lengths(manifest) == {"rock_song": N}
    assert manifest.left_out == 0


def test_formats_that_need_the_extra_are_counted_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "src/rock").mkdir(parents=True)
    m4a = b"\0\0\0\x1cftypM4A " + bytes(500)
    (tmp_path / "src/rock/fine.wav").write_bytes(wav(32767 * tone()))
    for suffix in ("m4a", "mp4", "aac", "wma", "webm"):
        (tmp_path / f"src/rock/{suffix}.{suffix}").write_bytes(m4a)
    manifest = pack(tmp_path / "src", tmp_path / "out")
    assert manifest.left_out == 5
    assert all(
        r"pip install 'gtzan-stream[av]'" in line["detail"] for line in manifest.report if line["kind"] == "unreadable"
    )
    shard = tar(tmp_path / "theirs.tar", [("rock_1.wav", wav(32767 * tone())), ("rock_2.m4a", m4a)])
    (tmp_path / "index").mkdir()
    shard.rename(tmp_path / "index/theirs.tar")
    manifest = index(tmp_path / "index")
    assert manifest.left_out == 1
    assert "needs the extra av" in next(line["detail"] for line in manifest.report if line["key"] == "rock_2")
