"""Length and learning rates of a fit whose end may be decided on the way."""

from __future__ import annotations

from itertools import pairwise

import pytest

from otcal.transport.schedule import FEWEST, RISE, Schedule


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def run(schedule: Schedule, clock: Clock, seconds: float = 0.0) -> list[float]:
    """Do all steps of a schedule, each of so many seconds; return the rates."""
    rates: list[float] = []
    while len(rates) < schedule.total:
        rates.append(schedule.rate(len(rates)))
        clock.now += seconds
    return rates


def test_the_rate_rises_stays_and_falls() -> None:
    rates = run(Schedule(1000), Clock())
    assert len(rates) == 1000
    assert rates[0] == pytest.approx(1.0 / RISE)
    assert set(rates[RISE:700]) == {1.0}
    assert all(before > after for before, after in pairwise(rates[701:]))
    assert rates[850] == pytest.approx(0.501, abs=1e-3)
    assert rates[-1] == pytest.approx(0.002, abs=1e-4)


@pytest.mark.parametrize(("steps", "expected"), [(None, 1000), (1500, 1000), (400, 400)])
def test_time_ends_a_fit_that_is_then_one_of_given_steps(steps: int | None, expected: int) -> None:
    clock = Clock()
    rates = run(Schedule(steps, 60.0, clock=clock), clock, 0.06)
    assert len(rates) == pytest.approx(expected, abs=2)
    assert rates == run(Schedule(len(rates)), Clock())


def test_a_fit_without_time_has_a_few_steps() -> None:
    clock = Clock()
    assert len(run(Schedule(None, 0.0, clock=clock), clock, 1.0)) == FEWEST


@pytest.mark.parametrize(
    ("values", "end"),
    [
        # Evaluated every 50 steps: a plateau of two values, and 30 % of the steps, ends the fit.
        ([3.0, 2.0, 2.5, 1.0, 1.5, 1.0], 300),
        ([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0], 650),
        ([-1.0 * i for i in range(20)], 700),
    ],
)
def test_held_out_values_that_no_longer_fall_end_a_fit(values: list[float], end: int) -> None:
    schedule = Schedule(1000, patience=2)
    left = iter(values + values[-1:] * 20)
    number = 0
    while number < schedule.total:
        schedule.rate(number)
        if schedule.due(number):
            schedule.observe(next(left))
        number += 1
    assert number == pytest.approx(end / 0.7, abs=1)


def test_nothing_ends_a_fit_whose_rate_falls_already() -> None:
    schedule = Schedule(1000, patience=1)
    schedule.rate(0)
    schedule.observe(1.0)
    schedule.rate(900)
    schedule.observe(2.0)
    assert schedule.total == 1000


def test_evaluations_take_a_twentieth_of_the_time_and_the_last_one_is_within_it() -> None:
    clock = Clock()
    schedule = Schedule(None, 100.0, evaluations=20, clock=clock)
    clock.now += 10.0  # until the first step
    number, evaluations = 0, 0
    while number < schedule.total:
        schedule.rate(number)
        clock.now += 0.1
        if schedule.due(number):
            clock.now += 2.0
            schedule.observe(-number)
            evaluations += 1
        number += 1
    assert evaluations == 3
    assert schedule.elapsed + 2.0 == pytest.approx(100.0, abs=0.5)


def test_a_last_evaluation_that_takes_longer_is_within_the_time() -> None:
    clock = Clock()
    schedule = Schedule(None, 100.0, evaluations=20, clock=clock)
    number, costs = 0, [1.0, 3.5, 6.0]
    while number < schedule.total:
        schedule.rate(number)
        clock.now += 0.1
        if schedule.due(number):
            clock.now += costs.pop(0)
            schedule.observe(-number)
        number += 1
    assert len(costs) == 1
    assert schedule.elapsed + costs[0] == pytest.approx(100.0, abs=0.5)


def test_steps_that_got_longer_meet_the_time() -> None:
    clock = Clock()
    schedule = Schedule(None, 60.0, clock=clock)
    number = 0
    while number < schedule.total:
        schedule.rate(number)
        clock.now += 0.04 + 0.03 * min(1.0, number / 600)
        number += 1
    assert schedule.elapsed == pytest.approx(60.0, abs=0.5)


def test_a_continued_fit_has_the_time_that_was_left() -> None:
    clock = Clock()
    first = Schedule(None, 60.0, clock=clock)
    for number in range(300):
        first.rate(number)
        clock.now += 0.1
    state = first.state()
    clock.now += 1e6
    second = Schedule(None, 60.0, clock=clock)
    second.restore(state)
    number = 300
    while number < second.total:
        second.rate(number)
        clock.now += 0.1
        number += 1
    assert number == pytest.approx(600, abs=5)


def test_a_schedule_needs_an_end() -> None:
    with pytest.raises(ValueError, match="steps or seconds"):
        Schedule(None)
