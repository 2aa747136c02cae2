"""The demo set depends only on its seed, stays within full scale, and has parts and genres that differ as designed."""

import csv
import wave
from pathlib import Path

import librosa
import numpy as np
import pytest

from gtzan_stream.catalog import faults, splits
from gtzan_stream.catalog.genres import GENRES
from gtzan_stream.demo import band, styles, synth
from gtzan_stream.demo import dataset as demo
from gtzan_stream.errors import UserError


def clips(genre: str, part: str = "train", count: int = 5, clip_s: float = 6.0) -> list[np.ndarray]:
    return [demo.synthesise(genre, number, part=part, clip_s=clip_s) for number in range(count)]


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(audio**2)))


def share_above(audio: np.ndarray, hertz: float) -> float:
    power = np.abs(np.fft.rfft(audio)) ** 2
    return float(power[np.fft.rfftfreq(len(audio), 1 / synth.RATE) > hertz].sum() / power.sum())


def strongest_tempo(audio: np.ndarray, around_bpm: float) -> float:
    """Return the tempo near the given one where onsets one, two and four beats apart are most similar."""
    hop = 128
    onsets = librosa.onset.onset_strength(y=audio, sr=synth.RATE, hop_length=hop)
    autocorrelation = librosa.autocorrelate(onsets - onsets.mean())
    tempi = around_bpm * np.linspace(0.82, 1.2, 200)
    lags = 60 / tempi * synth.RATE / hop
    scores = sum(np.interp(beats * lags, np.arange(len(autocorrelation)), autocorrelation) for beats in (1, 2, 4))
    return float(tempi[np.argmax(scores)])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return demo.write(tmp_path_factory.mktemp("demo"), train=2, valid=1, test=1, clip_s=1.5, seed=3)


def test_every_genre_has_a_style() -> None:
    assert tuple(styles.STYLES) == GENRES


@pytest.mark.parametrize("genre", GENRES)
def test_patterns_have_sixteen_known_steps(genre: str) -> None:
    style = styles.STYLES[genre]
    lines = [(line, "Xxo.") for drums in style.drums for line in drums.values()]
    lines += [(line, "Xx0123456wm.") for part in style.parts for line in part.patterns]
    assert lines
    assert all(len(line) == band.BAR and set(line) <= set(signs) for line, signs in lines)
    assert all(drum in synth.DRUMS for drums in style.drums for drum in drums)
    assert all(timbre in synth.TIMBRES for part in style.parts for timbre in part.timbres)
    chords = [chord.split("/") for progression in style.progressions for chord in progression.split()]
    assert all(0 <= int(root) < 12 and quality in styles.QUALITIES for root, quality in chords)


@pytest.mark.parametrize("genre", GENRES)
def test_a_clip_depends_on_its_arguments_alone(genre: str) -> None:
    clip = demo.synthesise(genre, 5, clip_s=2.0)
    demo.synthesise("jazz", 0, clip_s=1.0)
    np.testing.assert_array_equal(clip, demo.synthesise(genre, 5, clip_s=2.0))
    for other in (demo.synthesise(genre, 6, clip_s=2.0), demo.synthesise(genre, 5, clip_s=2.0, seed=1)):
        assert abs(np.corrcoef(clip, other)[0, 1]) < 0.9


@pytest.mark.parametrize("genre", GENRES)
def test_levels_are_in_the_range_of_the_conditions_and_nothing_clips(genre: str) -> None:
    for part, conditions in demo.CONDITIONS.items():
        recorded = clips(genre, part, 3, clip_s=4.0)
        level = demo.CLIP_GAIN * styles.STYLES[genre].level
        low, high = (
            np.hypot(level * gain, noise) for gain, noise in zip(conditions.gain, conditions.noise, strict=True)
        )
        assert all(0.75 * low < rms(clip) < 1.2 * high for clip in recorded)
        assert all(np.abs(clip).max() < 0.99 for clip in recorded)
        assert all(np.isfinite(clip).all() for clip in recorded)


def test_the_loudest_possible_clip_stays_within_full_scale() -> None:
    for conditions in demo.CONDITIONS.values():
        assert demo.CLIP_GAIN * demo.PEAK * conditions.gain[1] + 6 * conditions.noise[1] < 1


def test_test_clips_are_higher_louder_and_noisier_than_training_clips() -> None:
    train, test = demo.CONDITIONS["train"], demo.CONDITIONS["test"]
    assert demo.CONDITIONS["valid"] == test
    assert train.transpose[1] < test.transpose[0] < test.transpose[1] <= 4
    assert train.gain[1] < test.gain[0] < test.gain[1] <= 3
    assert train.noise[1] < test.noise[0] < test.noise[1] <= 0.005
    assert test.tempo[0] < train.tempo[0] < train.tempo[1] < test.tempo[1]


def test_test_clips_have_a_higher_noise_floor() -> None:
    def floor(part: str) -> float:
        spectra = [librosa.stft(clip, n_fft=1024)[480:] for clip in clips("classical", part)]
        return float(np.median([np.abs(spectrum).mean() for spectrum in spectra]))

    assert floor("test") > 10 * floor("train")


@pytest.mark.parametrize("genre", [genre for genre in GENRES if styles.STYLES[genre].drums])
def test_drums_have_the_tempo_of_the_genre(genre: str) -> None:
    nominal = styles.STYLES[genre].tempo_bpm
    tempi = [strongest_tempo(clip, nominal) for clip in clips(genre, count=5, clip_s=10.0)]
    assert abs(np.median(tempi) / nominal - 1) < 0.03


@pytest.mark.parametrize("tempo_bpm", [80.0, 120.0])
def test_a_band_plays_at_the_given_tempo(tempo_bpm: float) -> None:
    audio = band.play(
        styles.STYLES["disco"], np.random.default_rng(0), tempo_bpm=tempo_bpm, tonic=45.0, length=10 * synth.RATE
    )
    assert strongest_tempo(audio, tempo_bpm) == pytest.approx(tempo_bpm, rel=0.02)
    assert rms(audio) == pytest.approx(1, rel=1e-3)


def test_the_key_moves_the_notes() -> None:
    def chroma(tonic: float) -> np.ndarray:
        style = styles.STYLES["classical"]
        audio = band.play(style, np.random.default_rng(1), tempo_bpm=90.0, tonic=tonic, length=6 * synth.RATE)
        return librosa.feature.chroma_stft(y=audio, sr=synth.RATE, tuning=0.0).mean(axis=1)

    correlations = [float(np.corrcoef(np.roll(chroma(48.0), shift), chroma(51.0))[0, 1]) for shift in range(12)]
    assert int(np.argmax(correlations)) == 3


def test_genres_differ_in_brightness_bass_and_beat() -> None:
    bright = {genre: np.median([share_above(clip, 3_000.0) for clip in clips(genre)]) for genre in GENRES}
    assert bright["metal"] > 2 * bright["classical"]
    low = {genre: 1 - np.median([share_above(clip, 150.0) for clip in clips(genre)]) for genre in GENRES}
    assert min(low["hiphop"], low["reggae"]) > max(low["classical"], low["metal"])
    beats = {
        genre: np.median([np.std(librosa.onset.onset_strength(y=clip, sr=synth.RATE)) for clip in clips(genre)])
        for genre in ("classical", "disco", "hiphop")
    }
    assert beats["classical"] < min(beats["disco"], beats["hiphop"])


def test_drums_decay_and_tones_are_in_tune(rng: np.random.Generator) -> None:
    for strike in synth.DRUMS.values():
        sound = strike(rng)
        assert np.abs(sound[-100:]).max() < 0.05 * np.abs(sound).max()
    for timbre in synth.TIMBRES.values():
        tone = synth.chord(timbre, [57.0], synth.RATE)  # 220 Hz
        spectrum = np.abs(np.fft.rfft(tone))
        assert spectrum[np.arange(210, 231)].max() > 3 * spectrum[np.arange(240, 400)].max()


def test_the_folder_is_laid_out_like_gtzan(written: tuple[Path, Path]) -> None:
    genres, _ = written
    assert sorted(path.name for path in genres.iterdir()) == list(GENRES)
    files = sorted(genres.glob("*/*.wav"))
    assert [path.name for path in files[:2]] == ["blues.10000.wav", "blues.10001.wav"]
    assert len(files) == 40
    for path in files:
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
            assert file.getnframes() == round(1.5 * 22_050)


def test_files_hold_the_recorded_samples(written: tuple[Path, Path]) -> None:
    with wave.open(str(written[0] / "metal" / "metal.10003.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32_767
    np.testing.assert_allclose(samples, demo.synthesise("metal", 10_003, part="test", clip_s=1.5, seed=3), atol=2e-5)


def test_the_split_file_gives_every_clip_its_part(written: tuple[Path, Path]) -> None:
    split = splits.from_file(written[1])
    assert split["jazz_10000"] == split["jazz_10001"] == "train"
    assert (split["jazz_10002"], split["jazz_10003"]) == ("valid", "test")
    assert len(split) == 40
    with written[1].open(newline="") as file:
        assert next(csv.reader(file)) == ["key", "part"]


def test_keys_of_demo_clips_are_not_keys_of_gtzan(written: tuple[Path, Path]) -> None:
    assert not splits.from_file(written[1]).keys() & faults.CHECKSUMS.keys()


def test_an_existing_set_is_not_overwritten(written: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match="choose another folder"):
        demo.write(written[1].parent)


def test_a_file_instead_of_a_folder_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file cannot be written: File exists; choose another folder"):
        demo.write(tmp_path / "file")


def test_progress_counts_the_clips(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    demo.write(tmp_path, train=1, valid=0, test=0, clip_s=0.5, progress=lambda *args: calls.append(args))
    assert calls == [(i, 10) for i in range(1, 11)]
