"""The picture of `classify --plot`: the probabilities of the labels over time."""

import numpy as np
from matplotlib.image import imread

from gtzan_stream.inference.classify import Track
from gtzan_stream.inference.timeline import plot_timeline

LABELS = ["blues", "jazz", "metal"]


def test_the_picture_shows_the_label_over_time(tmp_path):
    track = Track("a$b$\N{GUITAR}.wav", 8.0, LABELS, np.array([0.0, 4.0]), 4.0, np.eye(3, dtype=np.float32)[[0, 2]])
    plot_timeline(tmp_path / "new/a.png", track)
    image = imread(tmp_path / "new/a.png")[:, :, :3]  # [row, column, colour]
    columns = {}
    for colour, rgb in {"blue": (0x1F, 0x77, 0xB4), "orange": (0xFF, 0x7F, 0x0E)}.items():
        columns[colour] = np.flatnonzero((np.abs(image - np.array(rgb) / 255) < 0.01).all(2).sum(0) > 200)
    assert len(columns["blue"]) > 200
    assert abs(len(columns["blue"]) - len(columns["orange"])) < 5
    assert columns["blue"].max() < columns["orange"].min()


def test_the_picture_of_a_long_file_has_no_stripes(tmp_path):
    """Ten minutes of one label in 202 chunks: the picture is one colour, with no line between the chunks."""
    chunks = np.tile(np.float32([1, 0, 0]), (202, 1))
    track = Track("a.wav", 600.0, LABELS, np.arange(202) * 65536 / 22050, 65536 / 22050, chunks)
    plot_timeline(tmp_path / "a.png", track)
    image = imread(tmp_path / "a.png")[:, :, :3]
    blue = (np.abs(image - np.array((0x1F, 0x77, 0xB4)) / 255) < 0.01).all(2)  # [row, column]
    columns = np.flatnonzero(blue.sum(0) > 200)
    assert len(columns) > 600
    assert np.array_equal(columns, np.arange(columns[0], columns[-1] + 1))


def test_the_picture_stacks_the_labels_and_ends_with_the_track(tmp_path, monkeypatch):
    from gtzan_stream.inference import timeline as module

    drawn = []
    monkeypatch.setattr(module, "write_png", lambda path, figure: drawn.append(figure))
    chunks = np.random.default_rng(0).dirichlet(np.ones(9), 2).astype(np.float32)
    plot_timeline(tmp_path / "a.png", Track("a.wav", 7.0, list("abcdefghi"), np.array([0.0, 4.0]), 4.0, chunks))
    (panel,) = drawn[0].get_axes()
    order = np.argsort(-chunks.mean(axis=0))
    stack = np.stack([*chunks[:, order[:6]].T, chunks[:, order[6:]].sum(axis=1)])  # the three others together, in grey
    layers = panel.patches[::-1]  # drawn from the top of the stack to its bottom, each over the one before
    assert len(layers) == 7
    for number, layer in enumerate(layers):
        np.testing.assert_allclose(layer.get_data().values, stack[: number + 1].sum(axis=0), atol=1e-6)
        assert layer.get_data().edges.tolist() == [0, 4, 7]
        assert layer.get_data().baseline == 0
    texts = panel.get_legend().get_texts()
    assert not any(text.get_parse_math() for text in texts)
    legend = [text.get_text().split()[0] for text in texts]
    assert legend == ["3", *("abcdefghi"[label] for label in order[5::-1])]
