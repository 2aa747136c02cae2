"""Styles of the demo set's ten genres as data: tempo, chords, drums and instruments.

A pattern has sixteen steps per bar. Signs for drums: X loud, x medium, o soft. Signs for instruments: X or x plays the
whole chord, digit n plays tone n of the chord, from 0 (beyond the last tone, the chord repeats an octave higher), w a
random tone of the chord, m the next note of the melody, . nothing.
"""

from dataclasses import dataclass

QUALITIES = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dom": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "half": (0, 3, 6, 10),
    "power": (0, 7, 12),
}
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
BLUES, PENTATONIC, DORIAN = (0, 3, 5, 6, 7, 10), (0, 2, 4, 7, 9), (0, 2, 3, 5, 7, 9, 10)
PHRYGIAN = (0, 1, 3, 5, 7, 8, 10)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One pitched instrument of a band (not a part of a split)."""

    timbres: tuple[str, ...]
    """The usual timbre, then those that may replace it."""
    patterns: tuple[str, ...]
    transpose: int
    """Semitones above the key note."""
    gain: float
    hold: int = 16
    """Longest note, in steps."""
    chance: float = 1.0
    """Probability that a clip has this part."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """A genre: what all its clips have in common, and what varies among them."""

    tempo_bpm: float
    tonic: int
    """MIDI number of the key note, between 40 and 51."""
    level: float
    """RMS of a clip before `dataset.CLIP_GAIN` and the gain of its conditions; full scale is 1."""
    swing: tuple[float, float] = (0.0, 0.05)
    """Range of the delay of off-beats: 0 is straight, 1 is triplets."""
    scales: tuple[tuple[int, ...], ...]
    progressions: tuple[str, ...]
    """Chords as "semitones above the key note/quality"."""
    drums: tuple[dict[str, str], ...] = ()
    drum_gain: float = 1.0
    parts: tuple[Part, ...]
    wet: float = 0.25
    reverb_s: float = 0.15
    crackle: float = 0.0


_MELODIES = (
    "m...m...m.m.m...",
    "m.....m.m...m...",
    "....m.m.m...m.m.",
    "m.m.m.....m.m...",
    "m.......m.m.m.m.",
    "m...............",
)

STYLES = {
    "blues": Style(
        tempo_bpm=96.0,
        tonic=40,
        level=0.045,
        swing=(0.7, 1.0),
        scales=(BLUES,),
        progressions=(
            "0/dom 0/dom 0/dom 0/dom 5/dom 5/dom 0/dom 0/dom 7/dom 5/dom 0/dom 7/dom",
            "0/dom 5/dom 0/dom 0/dom 5/dom 5/dom 0/dom 0/dom 7/dom 5/dom 0/dom 7/dom",
            "0/min7 0/min7 5/min7 0/min7 5/min7 5/min7 0/min7 7/dom",
        ),
        drums=(
            {"kick": "X.......X.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.......X.......", "snare": "....X.......X..o", "ride": "x.x.x.x.x.x.x.x."},
            {"kick": "X.....x.X.....x.", "stick": "....X.......X...", "hat": "X.o.X.o.X.o.X.o."},
        ),
        drum_gain=0.7,
        parts=(
            Part(
                timbres=("double bass", "bass guitar"),
                patterns=("0.0.1.1.2.2.1.1.", "0.0.2.2.3.3.2.2.", "w...w...w...w..."),
                transpose=0,
                gain=0.8,
                hold=4,
            ),
            Part(
                timbres=("organ", "piano", "warm overdrive"),
                patterns=("x.x.x.x.x.x.x.x.", "..x...x...x...x.", "....x.......x..."),
                transpose=12,
                gain=0.6,
                hold=3,
            ),
            Part(
                timbres=("harmonica", "warm overdrive", "clean guitar"),
                patterns=_MELODIES,
                transpose=24,
                gain=1.1,
            ),
        ),
    ),
    "classical": Style(
        tempo_bpm=88.0,
        tonic=50,
        level=0.03,
        scales=(MAJOR, MINOR),
        progressions=(
            "0/maj 5/maj 7/dom 0/maj 9/min 2/min 7/dom 0/maj",
            "0/min 8/maj 5/min 7/maj 0/min 3/maj 7/dom 0/min",
            "0/maj 7/maj 9/min 4/min 5/maj 0/maj 5/maj 7/maj",
        ),
        parts=(
            Part(
                timbres=("strings", "piano"),
                patterns=("0.2.1.2.0.2.1.2.", "0.1.2.3.2.1.0.1.", "x...............", "x.......x......."),
                transpose=12,
                gain=0.8,
            ),
            Part(
                timbres=("strings", "double bass", "flute"),
                patterns=("0...............", "0.......2.......", "0...1...2...1..."),
                transpose=0,
                gain=0.6,
            ),
            Part(timbres=("flute", "strings", "piano"), patterns=_MELODIES, transpose=24, gain=0.9),
        ),
        wet=0.6,
        reverb_s=0.35,
    ),
    "country": Style(
        tempo_bpm=112.0,
        tonic=43,
        level=0.04,
        swing=(0.0, 0.3),
        scales=(PENTATONIC, MAJOR),
        progressions=(
            "0/maj 0/maj 5/maj 0/maj 0/maj 7/maj 0/maj 7/maj",
            "0/maj 5/maj 0/maj 7/maj",
            "0/maj 9/min 5/maj 7/maj",
        ),
        drums=(
            {"kick": "X.......X.......", "snare": "....X.......X...", "brush": "x.xox.xox.xox.xo"},
            {"kick": "X.......X.......", "brush": "o.oxo.oxo.oxo.ox"},
            {"kick": "X...x...X...x...", "stick": "..x...x...x...x.", "shaker": "x.x.x.x.x.x.x.x."},
        ),
        drum_gain=0.55,
        parts=(
            Part(
                timbres=("bass guitar", "double bass"),
                patterns=("0.......2.......", "0...0...2...2...", "0.......2.....1."),
                transpose=0,
                gain=0.7,
                hold=6,
            ),
            Part(
                timbres=("acoustic guitar", "clean guitar"),
                patterns=("....x.x.....x.x.", "x...x.x.x...x.x.", "0.2.x.2.1.2.x.2.", "..x.x.....x.x..."),
                transpose=12,
                gain=0.8,
                hold=4,
            ),
            Part(
                timbres=("clean guitar", "harmonica", "strings", "acoustic guitar"),
                patterns=_MELODIES,
                transpose=24,
                gain=0.7,
                chance=0.8,
            ),
        ),
        wet=0.2,
    ),
    "disco": Style(
        tempo_bpm=122.0,
        tonic=45,
        level=0.05,
        scales=(DORIAN, MINOR),
        progressions=("0/min7 0/min7 5/dom 5/dom", "0/min7 10/maj 8/maj7 7/dom", "0/min7 5/min7 10/maj 3/maj7"),
        drums=(
            {"kick": "X...X...X...X...", "snare": "....X.......X...", "open": "..X...X...X...X."},
            {
                "kick": "X...X...X...X...",
                "clap": "....X.......X...",
                "open": "..x...x...x...x.",
                "hat": "x.o.x.o.x.o.x.o.",
            },
            {"kick": "X...X...X...X...", "snare": "....X.......X..o", "hat": "xoxoxoxoxoxoxoxo"},
        ),
        parts=(
            Part(
                timbres=("bass guitar", "sub bass"),
                patterns=("0.3.0.3.0.3.0.3.", "0..0..3.0..0.23.", "0.0.3.0.0.0.3.2."),
                transpose=0,
                gain=0.8,
                hold=2,
            ),
            Part(
                timbres=("clean guitar", "electric piano"),
                patterns=("x.xx..x.x.xx..x.", "..x...x...x..xx.", "x..x..x.x..x..x."),
                transpose=17,
                gain=0.6,
                hold=2,
            ),
            Part(
                timbres=("strings", "synth pad", "brass"),
                patterns=("x...............", "x.......x.......", "x..x............"),
                transpose=17,
                gain=0.5,
                chance=0.8,
            ),
            Part(timbres=("strings", "synth lead", "brass"), patterns=_MELODIES, transpose=24, gain=0.6, chance=0.6),
        ),
    ),
    "hiphop": Style(
        tempo_bpm=92.0,
        tonic=42,
        level=0.05,
        swing=(0.0, 0.5),
        scales=(MINOR, BLUES),
        progressions=("0/min7 0/min7", "0/min7 8/maj7", "0/min 5/min 0/min 3/maj"),
        drums=(
            {"kick": "X..x......X.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.....x..xX.....", "clap": "....X.......X...", "hat": "x.xxx.x.x.xxx.x."},
            {"kick": "X.x....x..X...x.", "snare": "....X..o.o..X...", "shaker": "x.x.x.x.x.x.x.x."},
        ),
        drum_gain=1.4,
        parts=(
            Part(
                timbres=("sub bass", "bass guitar"),
                patterns=("0..0......0.....", "0.....0...0...2.", "0.........0..3.."),
                transpose=-4,
                gain=1.0,
                hold=6,
            ),
            Part(
                timbres=("electric piano", "strings", "piano", "brass"),
                patterns=("x...............", "x......x........", "..x.......x.....", "0.1.2...0.1.3..."),
                transpose=17,
                gain=0.4,
                hold=8,
            ),
            Part(
                timbres=("synth lead", "electric piano", "flute"),
                patterns=_MELODIES,
                transpose=24,
                gain=0.4,
                chance=0.5,
            ),
        ),
        wet=0.15,
        crackle=0.5,
    ),
    "jazz": Style(
        tempo_bpm=132.0,
        tonic=46,
        level=0.035,
        swing=(0.7, 1.0),
        scales=(MAJOR, DORIAN, BLUES),
        progressions=(
            "2/min7 7/dom 0/maj7 9/dom",
            "2/min7 7/dom 0/maj7 0/maj7",
            "0/min7 5/dom 10/maj7 3/maj7 9/half 2/dom 7/min7 7/min7",
            "0/dom 5/dom 0/dom 9/dom 2/min7 7/dom",
        ),
        drums=(
            {"ride": "X...x.x.X...x.x.", "hat": "....x.......x..."},
            {
                "ride": "X...x.x.X...x.x.",
                "hat": "....x.......x...",
                "snare": "......o.......o.",
                "kick": "o.........o.....",
            },
            {"brush": "x.o.X.o.x.o.X.o.", "kick": "o.......o......."},
        ),
        drum_gain=0.5,
        parts=(
            Part(
                timbres=("double bass",),
                patterns=("w...w...w...w...", "w...w...w...w.w.", "0.......2......."),
                transpose=0,
                gain=0.9,
                hold=4,
            ),
            Part(
                timbres=("piano", "electric piano", "clean guitar"),
                patterns=("..x...x.........", "x.....x.........", "......x.......x.", "....x.....x....."),
                transpose=17,
                gain=0.6,
                hold=3,
            ),
            Part(
                timbres=("saxophone", "brass", "piano", "flute"),
                patterns=("m.m.m.m.m.m.m...", "..m.m.m.m.m.....", "m...m.m...m.m.m.", "m.m.m.....m.m.m."),
                transpose=24,
                gain=0.8,
                chance=0.9,
            ),
        ),
        wet=0.3,
    ),
    "metal": Style(
        tempo_bpm=152.0,
        tonic=40,
        level=0.06,
        scales=(PHRYGIAN, MINOR),
        progressions=(
            "0/power 0/power 1/power 3/power",
            "0/power 8/power 10/power 0/power",
            "0/power 0/power 6/power 5/power",
        ),
        drums=(
            {"kick": "xxxxxxxxxxxxxxxx", "snare": "....X.......X...", "crash": "X.......x......."},
            {"kick": "X.xxX.xxX.xxX.xx", "snare": "....X.......X...", "ride": "x.x.x.x.x.x.x.x."},
            {"kick": "X.x.X.x.X.x.X.x.", "snare": "..X...X...X...X.", "crash": "x...x...x...x..."},
        ),
        drum_gain=0.8,
        parts=(
            Part(
                timbres=("distorted guitar", "high-gain guitar"),
                patterns=("x.xxx.xxx.xxx.xx", "xxxxxxxxxxxxxxxx", "x..xx..xx..xx.x.", "x.......x......."),
                transpose=0,
                gain=1.2,
                hold=6,
            ),
            Part(
                timbres=("bass guitar",),
                patterns=("0.000.000.000.00", "0.0.0.0.0.0.0.0."),
                transpose=-12,
                gain=0.4,
                hold=2,
            ),
            Part(
                timbres=("high-gain guitar",),
                patterns=("mmmmmmmmmmmmmmmm", "m.mmm.mmm.mmm.mm", "m.......m.......", "m.m.m.m.m.m.m.m."),
                transpose=24,
                gain=0.6,
                chance=0.4,
            ),
        ),
        wet=0.15,
    ),
    "pop": Style(
        tempo_bpm=114.0,
        tonic=48,
        level=0.05,
        scales=(MAJOR, PENTATONIC),
        progressions=(
            "0/maj 7/maj 9/min 5/maj",
            "9/min 5/maj 0/maj 7/maj",
            "0/maj 9/min 5/maj 7/maj",
            "5/maj 7/maj 4/min 9/min",
        ),
        drums=(
            {"kick": "X.......X.x.....", "clap": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X...X...X...X...", "clap": "....X.......X...", "shaker": "xoxoxoxoxoxoxoxo"},
            {"kick": "X.....x.X.......", "snare": "....X.......X...", "hat": "xxxxxxxxxxxxxxxx"},
        ),
        drum_gain=0.9,
        parts=(
            Part(
                timbres=("sub bass", "bass guitar"),
                patterns=("0.0.0.0.0.0.0.0.", "0.......0.0.....", "0...0...0...0..."),
                transpose=-12,
                gain=0.7,
                hold=4,
            ),
            Part(
                timbres=("synth pad", "piano", "electric piano", "acoustic guitar"),
                patterns=("x...............", "x...x...x...x...", "x..x..x.x..x..x.", "0.1.2.1.0.1.2.1."),
                transpose=12,
                gain=0.7,
            ),
            Part(
                timbres=("synth lead", "flute", "electric piano"),
                patterns=_MELODIES,
                transpose=24,
                gain=0.8,
                chance=0.9,
            ),
        ),
    ),
    "reggae": Style(
        tempo_bpm=76.0,
        tonic=47,
        level=0.045,
        swing=(0.0, 0.4),
        scales=(MINOR, PENTATONIC),
        progressions=("0/min 5/min", "0/maj 5/maj", "0/min 10/maj", "0/maj 2/min 5/maj 0/maj"),
        drums=(
            {"kick": "........X.......", "stick": "........X.......", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.......X.......", "snare": "........X.......", "hat": "..x...x...x...x."},
            {"kick": "X...X...X...X...", "stick": "........X.....o.", "shaker": "x.x.x.x.x.x.x.x."},
        ),
        drum_gain=0.8,
        parts=(
            Part(
                timbres=("sub bass", "bass guitar"),
                patterns=("0...0.2.3.......", "0..0..2...0.1...", "....0.0.1.2....."),
                transpose=-4,
                gain=1.1,
                hold=4,
            ),
            Part(
                timbres=("clean guitar", "organ", "piano"),
                patterns=("....x.......x...", "..x...x...x...x.", "....xx......xx.."),
                transpose=17,
                gain=0.7,
                hold=1,
            ),
            Part(timbres=("organ", "brass", "harmonica"), patterns=_MELODIES, transpose=24, gain=0.5, chance=0.6),
        ),
        wet=0.4,
    ),
    "rock": Style(
        tempo_bpm=126.0,
        tonic=45,
        level=0.055,
        scales=(PENTATONIC, BLUES, MINOR),
        progressions=(
            "0/maj 5/maj 7/maj 5/maj",
            "0/power 10/power 5/power 0/power",
            "0/maj 10/maj 5/maj 0/maj",
            "0/min 8/maj 10/maj 0/min",
        ),
        drums=(
            {"kick": "X.......X.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.x.....X.x.....", "snare": "....X.......X...", "crash": "x...x...x...x..."},
            {"kick": "X.....x...x.....", "snare": "....X.......X..o", "ride": "x.x.x.x.x.x.x.x."},
        ),
        parts=(
            Part(
                timbres=("distorted guitar", "warm overdrive"),
                patterns=("x.x.x.x.x.x.x.x.", "x.....x.x.......", "x...x.xx..x.x...", "x..............."),
                transpose=7,
                gain=0.9,
                hold=6,
            ),
            Part(
                timbres=("bass guitar",),
                patterns=("0.0.0.0.0.0.0.0.", "0.....0.0.......", "0...0...0.0.2..."),
                transpose=-5,
                gain=0.7,
                hold=4,
            ),
            Part(
                timbres=("distorted guitar", "warm overdrive", "organ"),
                patterns=_MELODIES,
                transpose=24,
                gain=0.6,
                chance=0.5,
            ),
        ),
        wet=0.2,
    ),
}
"""The ten styles, by the name of their genre."""
