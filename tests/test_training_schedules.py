"""The learning rate during a run: warm-up, plateau and cosine schedules."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.training import optimizers, schedules


def schedule_of(name: str = "plateau", **settings: int) -> tuple[Any, torch.optim.Optimizer]:
    optimizer = optimizers.build("sgd", nn.Linear(1, 1).parameters(), lr=0.01)
    return schedules.build(name, optimizer, **{"steps": 80, **settings}), optimizer


def test_the_plateau_schedule_divides_by_five_and_finishes_below_a_hundred_thousandth():
    schedule, _ = schedule_of()
    rates = []
    while not schedule.finished:
        schedule.end_epoch(1.0)
        rates.append(schedule.lr)
    assert rates[5] == pytest.approx(0.01)
    assert rates[6] == pytest.approx(0.002)
    assert rates[-1] == pytest.approx(0.01 * 0.2**5)
    assert rates[-1] < 1e-5 < rates[-2]


def test_warm_up_climbs_to_the_learning_rate_and_ignores_bad_epochs():
    schedule, optimizer = schedule_of(warmup_steps=10)
    assert schedule.lr == pytest.approx(0.0001)
    for step in range(10):
        for _ in range(20):
            schedule.end_epoch(float(step))
        assert not schedule.finished
        optimizer.step()
        schedule.step()
    assert schedule.lr == pytest.approx(0.01)
    for _ in range(7):  # after the warm-up, bad epochs count
        schedule.end_epoch(1.0)
    assert schedule.lr == pytest.approx(0.002)


def test_a_cosine_falls_to_zero_at_the_last_step():
    schedule, optimizer = schedule_of("cosine", warmup_steps=10, steps=50)
    rates = [schedule.lr]
    for _ in range(50):
        optimizer.step()
        schedule.step()
        schedule.end_epoch(1.0)
        rates.append(schedule.lr)
    assert rates[:11] == pytest.approx([0.01 * (0.01 + 0.99 * step / 10) for step in range(11)])
    assert rates[20] == pytest.approx(0.01 * (1 + math.cos(math.pi / 4)) / 2)
    assert rates[30] == pytest.approx(0.005)
    assert rates[50] == pytest.approx(0.0)
    assert all(after < before for before, after in pairwise(rates[10:]))
    assert not schedule.finished


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_a_warm_up_longer_than_the_run_is_refused(name):
    assert schedule_of(name, steps=50, warmup_steps=50)[0].lr == pytest.approx(1e-4)
    with pytest.raises(UserError, match="--warmup-steps must be at most the run's 50 steps, got 51"):
        schedule_of(name, steps=50, warmup_steps=51)


def test_a_cosine_warms_up_by_default_and_a_plateau_does_not():
    schedule, optimizer = schedule_of("cosine", steps=50)
    rates = [schedule.lr]
    for _ in range(50):
        optimizer.step()
        schedule.step()
        rates.append(schedule.lr)
    assert rates.index(max(rates)) == 15
    assert max(rates) == pytest.approx(0.01)
    assert schedule_of("cosine", steps=50, warmup_steps=0)[0].lr == pytest.approx(0.01)
    assert schedule_of("plateau")[0].lr == pytest.approx(0.01)


@pytest.mark.parametrize("name", schedules.SCHEDULES)
@pytest.mark.parametrize("steps", [3, 15])
def test_a_schedule_continues_where_it_was(name, steps):
    def go(schedule, optimizer, first, last):
        rates = []
        for step in range(first, last):
            optimizer.step()
            schedule.step()
            if step % 5 == 4:
                schedule.end_epoch(1.0)
            rates.append(schedule.lr)
        return rates

    unbroken = go(*schedule_of(name, warmup_steps=10), 0, 80)
    schedule, optimizer = schedule_of(name, warmup_steps=10)
    first_rates = go(schedule, optimizer, 0, steps)
    again, other = schedule_of(name, warmup_steps=10)
    other.load_state_dict(optimizer.state_dict())
    again.load_state_dict(schedule.state_dict())
    assert first_rates + go(again, other, steps, 80) == unbroken
    assert unbroken[-1] < 0.01


@pytest.mark.parametrize("step", [-5, 51, 1.5, None])
def test_a_state_of_no_step_of_the_run_is_refused(step):
    schedule, _ = schedule_of("cosine", steps=50)
    with pytest.raises(UserError, match="step of the schedule must be"):
        schedule.load_state_dict({"step": step})


def test_a_loaded_cosine_sets_the_learning_rate_of_its_step():
    schedule, optimizer = schedule_of("cosine", steps=50, warmup_steps=0)
    schedule.load_state_dict({"step": 25})
    assert schedule.lr == pytest.approx(0.005)
    optimizer.step()
    schedule.step()
    assert schedule.state_dict() == {"step": 26}
    assert schedule.lr == pytest.approx(0.01 * (1 + math.cos(math.pi * 26 / 50)) / 2)
