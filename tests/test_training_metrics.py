"""Metrics and losses compared with numbers worked out by hand."""

import math

import pytest
import torch

from gtzan_stream.errors import UserError
from gtzan_stream.inference.export import logits_of
from gtzan_stream.training import metrics
from gtzan_stream.training.losses import loss_of


def predictions(rows: list[tuple[str, int, list[float]]]) -> metrics.Predictions:
    """Collect predictions from rows of key, label and probabilities."""
    collector = metrics.Collector()
    for number, (key, label, probabilities) in enumerate(rows):
        collector.add(torch.tensor([probabilities]).log(), torch.tensor([label]), torch.ones(1), [key], [number])
    return collector.result()


@pytest.fixture
def chunks() -> metrics.Predictions:
    return predictions(
        [
            ("a", 0, [0.6, 0.3, 0.1]),
            ("b", 1, [0.5, 0.4, 0.1]),
            ("a", 0, [0.2, 0.7, 0.1]),
            ("b", 1, [0.0, 1.0, 0.0]),
            ("c", 1, [0.1, 0.2, 0.7]),
        ]
    )


def test_accuracy_per_chunk_and_per_track(chunks):
    tracks = metrics.by_track(chunks)
    assert chunks.accuracy == pytest.approx(2 / 5)
    assert tracks.keys == ["a", "b", "c"]
    expected = torch.tensor([[0.4, 0.5, 0.1], [0.25, 0.7, 0.05], [0.1, 0.2, 0.7]])
    torch.testing.assert_close(tracks.probabilities, expected)
    assert tracks.labels.tolist() == [0, 1, 1]
    assert tracks.correct.tolist() == [False, True, False]
    assert tracks.loss == pytest.approx(-sum(map(math.log, [0.4, 0.7, 0.2])) / 3, rel=1e-5)


def test_the_loss_is_the_cross_entropy(chunks):
    probabilities = [0.6, 0.4, 0.2, 1.0, 0.2]
    assert chunks.loss == pytest.approx(-sum(map(math.log, probabilities)) / 5, rel=1e-5)


def test_the_summary_has_every_measure_and_is_plain_json(chunks):
    summary = metrics.summary(chunks, ["blues", "jazz", "rock"])
    assert (summary["chunks"], summary["tracks"]) == (5, 3)
    assert summary["chunk_accuracy"] == pytest.approx(0.4)
    assert summary["track_accuracy"] == pytest.approx(1 / 3)
    assert summary["confusion"] == [[0, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert summary["labels"]["jazz"] == {
        "tracks": 2,
        "chunk_recall": pytest.approx(1 / 3),
        "track_recall": 0.5,
        "track_precision": 0.5,
    }
    assert summary["labels"]["rock"] == {
        "tracks": 0,
        "chunk_recall": None,
        "track_recall": None,
        "track_precision": 0.0,
    }
    assert summary["track_interval"] == pytest.approx(metrics.interval(1, 3))
    assert summary["chunk_interval"] == pytest.approx(metrics.interval(0.4 * 3, 3))


def test_the_most_wrong_tracks_are_those_whose_label_is_least_probable(chunks):
    found = metrics.summary(chunks, ["blues", "jazz", "rock"])["most_wrong"]
    assert [row["key"] for row in found] == ["c", "a"]  # b is right
    assert found[0] == {
        **{"key": "c", "label": "jazz", "predicted": "rock", "chunk": 4},
        **{"label_probability": pytest.approx(0.2), "predicted_probability": pytest.approx(0.7)},
    }
    assert (found[1]["label"], found[1]["predicted"], found[1]["chunk"]) == ("blues", "jazz", 2)
    assert len(metrics.most_wrong(chunks, metrics.by_track(chunks), "abc", most=1)) == 1


def test_intervals_of_chunks_are_as_wide_as_those_of_their_tracks():
    many = predictions([("a", 0, [0.9, 0.1])] * 100)
    low, high = metrics.summary(many, ["blues", "jazz"])["chunk_interval"]
    assert (low, high) == pytest.approx(metrics.interval(1, 1))
    assert low < 0.25


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)]
)
def test_the_interval_is_wilsons(correct, total, low, high):
    assert metrics.interval(correct, total) == pytest.approx((low, high), abs=1e-4)


def test_bf16_logits_are_measured_in_float32():
    logits = torch.tensor([[1.0, 3.0, -2.0], [0.5, 0.0, 0.25]]).bfloat16()
    labels, weights = torch.tensor([1, 2]), torch.ones(2)
    collector = metrics.Collector()
    collector.add(logits, labels, weights, ["a", "b"], [0, 0])
    found, expected = collector.result(), logits.float().log_softmax(dim=1)
    torch.testing.assert_close(found.probabilities, expected.exp())
    torch.testing.assert_close(found.losses, -expected[[0, 1], labels])
    torch.testing.assert_close(loss_of(logits, labels, weights), -expected[[0, 1], labels].sum())


def test_rows_of_weight_zero_do_not_count():
    collector = metrics.Collector()
    logits = torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    collector.add(logits, torch.tensor([0, 1, 1]), torch.tensor([1.0, 0.0, 1.0]), ["a", "b", "c"], [4, 5, 6])
    result = collector.result()
    assert result.keys == ["a", "c"]
    assert result.chunks == [4, 6]
    assert result.accuracy == 1.0
    assert result.loss < 0.001


def test_nothing_to_measure_is_an_error():
    collector = metrics.Collector()
    collector.add(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), torch.zeros(1), ["a"], [0])
    with pytest.raises(UserError, match="nothing to evaluate: every clip is too short for a crop or was skipped; run"):
        collector.result()


def test_the_loss_of_training_ignores_rows_of_weight_zero():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([0, 1, 2])
    halves = loss_of(logits, labels, torch.tensor([1.0, 0.5, 0.0]))
    rows = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(halves, rows[0] + 0.5 * rows[1])
    loss = loss_of(logits, labels, torch.tensor([0.5, 0.0, 0.5]))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits[[0, 2]], labels[[0, 2]]))
    loss.backward()
    assert logits.grad[1].abs().max() == 0


def test_a_batch_of_fillers_gives_no_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    loss_of(logits, torch.tensor([0, 1]), torch.zeros(2)).backward()
    assert logits.grad.abs().max() == 0


def test_auxiliary_heads_count_three_tenths_each():
    heads = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).unbind()
    labels, weights = torch.tensor([0, 1, 2, 3, 0]), torch.full((5,), 0.2)
    own, first, second = (torch.nn.functional.cross_entropy(head, labels) for head in heads)
    torch.testing.assert_close(loss_of(heads, labels, weights), own + 0.3 * (first + second))
    assert logits_of(heads) is heads[0]
