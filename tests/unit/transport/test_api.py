"""fit_map: determinism, resume, bad input, hard samples, divergence."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from otcal.runtime import checkpoint, training
from otcal.runtime.errors import InputError
from otcal.transport.api import FittedMap, fit_map
from otcal.transport.convex import ConvexPotential
from otcal.transport.minimax import MinimaxFit, MinimaxOptions
from otcal.transport.problem import Conditioned, prepare
from otcal.transport.schedule import Schedule
from otcal.transport.semidual import SemidualFit, SemidualOptions

SMALL = SemidualOptions(hidden=(16, 16), batch=64, noise=0.1)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def samples(n: int = 400, d: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)) ** 3 + 1.0


def test_steps_and_seed_decide_every_bit() -> None:
    source, target = samples()
    runs = [
        fit_map(source, target, steps=20, seed=seed, options=SMALL, select=False).transport(source)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_points_in_files_leave_every_bit(tmp_path: Path) -> None:
    source, target = samples()
    runs = [
        fit_map(source, target, steps=20, options=SMALL, select=False, scratch=scratch)
        for scratch in (None, tmp_path)
    ]
    np.testing.assert_array_equal(*(run.transport(source) for run in runs))
    assert runs[0].learning_curve == runs[1].learning_curve
    assert not list(tmp_path.iterdir())


def test_minimax_moves_the_map_ten_times_and_then_the_critic_four_times() -> None:
    source, target = samples(60)
    problem = prepare(
        Conditioned((source, target)),
        None,
        in_spreads=True,
        preconditioned=False,
        seed=0,
        place=torch.device("cpu"),
    )
    fit = MinimaxFit(
        problem.source,
        problem.target,
        problem.held_out,
        MinimaxOptions(blocks=2, hidden=(4, 4), batch=16),  # rounds as in the paper
        steps=40,
        seed=0,
    )

    def weights(network: torch.nn.Module) -> torch.Tensor:
        return torch.cat([parameter.detach().ravel().clone() for parameter in network.parameters()])

    moved = []
    for number in range(31):
        before = {"g": weights(fit.map), "f": weights(fit.critic)}
        fit.step(number)
        after = {"g": weights(fit.map), "f": weights(fit.critic)}
        moved.append("".join(name for name in "gf" if not torch.equal(before[name], after[name])))
    assert "".join(moved) == 2 * (10 * "g" + 4 * "f") + 3 * "g"
    assert all(len(names) == 1 for names in moved)


def test_without_preconditioning_a_fit_starts_near_the_identity() -> None:
    source, target = samples(1000)
    settings = {"steps": 1, "standardise": True, "select": False, "options": SMALL}
    start = fit_map(source, target, precondition=False, **settings)
    near = np.abs(start.transport(source) - source).mean()
    assert near < 0.2 * np.abs(target.mean(0) - source.mean(0)).mean()
    gaussian = fit_map(source, target, **settings)
    assert np.abs(gaussian.transport(source) - source).mean() > 2 * near
    # Both know the same Gaussian map.
    assert start.learning_curve[0] == pytest.approx(gaussian.learning_curve[0], abs=1e-5)
    assert not start.diagnostics["preconditioned"]
    assert gaussian.diagnostics["preconditioned"]


class InterruptionError(Exception):
    pass


@pytest.mark.parametrize(
    ("method", "options", "trainee"),
    [
        ("convex", SMALL, SemidualFit),
        ("minimax", MinimaxOptions(blocks=2, hidden=(8, 8), batch=32), MinimaxFit),
    ],
)
def test_interrupted_fit_ends_with_the_same_bits(
    method: str,
    options: SemidualOptions | MinimaxOptions,
    trainee: type,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target = samples()

    def run(path: Path | None) -> tuple[np.ndarray, list[dict[str, float]]]:
        fitted = fit_map(
            source,
            target,
            method=method,
            steps=40,
            options=options,
            select=False,
            checkpoint_path=path,
        )
        return fitted.transport(source), fitted.learning_curve

    whole, curve = run(None)
    path = tmp_path / "checkpoint.safetensors"
    step = trainee.step
    original = training.fit

    def stop_at_25(self: object, number: int) -> object:
        if number == 25:
            raise InterruptionError
        return step(self, number)

    monkeypatch.setattr(
        "otcal.transport.network_fit.training.fit",
        lambda *args, **kwargs: original(*args, **kwargs, checkpoint_every_s=0.0),
    )
    monkeypatch.setattr(trainee, "step", stop_at_25)
    with pytest.raises(InterruptionError):
        run(path)
    assert path.exists()
    counted: list[int] = []

    def count(self: object, number: int) -> object:
        counted.append(number)
        return step(self, number)

    monkeypatch.setattr(trainee, "step", count)
    continued, continued_curve = run(path)
    assert counted == list(range(25, int(curve[-1]["step"])))
    np.testing.assert_array_equal(continued, whole)
    assert continued_curve == curve


def killed_after(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a checkpoint after every step, and let the convex fit die at one."""
    step, original = SemidualFit.step, training.fit

    def dying(self: SemidualFit, at: int) -> object:
        if at == number:
            raise InterruptionError
        return step(self, at)

    monkeypatch.setattr(
        "otcal.transport.network_fit.training.fit",
        lambda *args, **kwargs: original(*args, **kwargs, checkpoint_every_s=0.0),
    )
    monkeypatch.setattr(SemidualFit, "step", dying)


@pytest.mark.parametrize("budget", [{"steps": 40}, {"steps": 40, "budget_s": 1e6}])
def test_a_checkpoint_of_another_network_is_left_and_that_is_said(
    budget: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = samples()
    path = tmp_path / "checkpoint.safetensors"
    with monkeypatch.context() as patch:
        killed_after(25, patch)
        with pytest.raises(InterruptionError):
            fit_map(source, target, steps=40, options=SMALL, checkpoint_path=path)
    assert path.exists()
    other = SemidualOptions(hidden=(8,), batch=64, noise=0.1)
    settings = {**budget, "options": other, "select": False}
    fitted = fit_map(source, target, checkpoint_path=path, **settings)
    assert caplog.messages == [
        f"{path} is of another fit: options.hidden was (16, 16) and is (8,); starting again"
    ]
    fresh = fit_map(source, target, **settings)
    np.testing.assert_array_equal(fitted.transport(source), fresh.transport(source))


@pytest.mark.parametrize("budget", [{"steps": 20}, {"budget_s": 1.0}])
def test_a_file_that_is_no_fits_checkpoint_is_refused(budget: dict, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, {"weights": torch.ones(3)})
    with pytest.raises(InputError, match=r"identity: is missing.* Delete it to start"):
        fit_map(*samples(), options=SMALL, checkpoint_path=path, **budget)


def test_a_diverged_state_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed_after(-1, monkeypatch)
    path = tmp_path / "checkpoint.safetensors"
    wild = SemidualOptions(hidden=(16, 16), batch=64, learning_rate=200.0)
    fitted = fit_map(*samples(1000), steps=40, options=wild, checkpoint_path=path)
    assert fitted.diagnostics["diverged_learning_rates"]
    assert "another fit" not in caplog.text


def test_a_continued_fit_does_not_repeat_attempts_that_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wild = SemidualOptions(hidden=(16, 16), batch=64, learning_rate=8.0)
    settings = {"steps": 40, "options": wild, "select": False, "diagnostics": False}
    source, target = samples(1000)
    whole = fit_map(source, target, **settings)
    diverged = whole.diagnostics["diverged_learning_rates"]
    assert diverged
    path, step, seen = tmp_path / "checkpoint.safetensors", SemidualFit.step, []

    def dying(self: SemidualFit, number: int) -> object:
        if self.options.learning_rate < diverged[-1]:
            if number == 25:
                raise InterruptionError
            seen.append(number)
        return step(self, number)

    monkeypatch.setenv("OTCAL_CHECKPOINT_EVERY_S", "0")
    with monkeypatch.context() as patch:
        patch.setattr(SemidualFit, "step", dying)
        with pytest.raises(InterruptionError):
            fit_map(source, target, checkpoint_path=path, **settings)
    caplog.clear()
    continued = fit_map(source, target, checkpoint_path=path, **settings)
    assert seen == list(range(25))
    assert caplog.messages == []  # neither diverged again nor began again
    np.testing.assert_array_equal(continued.transport(source), whole.transport(source))
    for name in ("diverged_learning_rates", "options", "steps"):
        assert continued.diagnostics[name] == whole.diagnostics[name]


def test_a_gaussian_map_that_is_chosen_has_the_moments_of_all_points() -> None:
    source, target = samples(1000, d=3)
    fitted = fit_map(source, target, method="gaussian")
    np.testing.assert_allclose(fitted.transport(source).mean(0), target.mean(0), atol=1e-4)
    apart = fit_map(source, target, method="gaussian", validation=samples(100, d=3))
    np.testing.assert_allclose(apart.transport(source), fitted.transport(source), atol=1e-4)
    assert fitted.diagnostics["points"] == {
        "source": 900,
        "target": 900,
        "held_out_source": 100,
        "held_out_target": 100,
    }


def test_budget_in_seconds_is_met_roughly_and_recorded() -> None:
    source, target = samples()
    fitted = fit_map(source, target, budget_s=2.0, options=SMALL)
    assert fitted.diagnostics["steps"] >= 20
    assert fitted.diagnostics["seconds"] < 30.0
    both = fit_map(source, target, budget_s=60.0, steps=21, options=SMALL)
    assert both.diagnostics["steps"] == 21


@pytest.mark.parametrize(
    ("method", "options", "seconds"),
    [("convex", SMALL, 100.0), ("minimax", MinimaxOptions(1, (8,), batch=32), 4.0)],
)
def test_budget_is_counted_by_the_given_clock(method: Any, options: Any, seconds: float) -> None:
    """A second of this clock passes between two looks: at a step, or at 28 of them."""
    source, target = samples()

    def fitted(budget: float) -> FittedMap:
        settings = {"method": method, "options": options, "select": False, "diagnostics": False}
        return fit_map(source, target, budget_s=budget, clock=count().__next__, **settings)

    short, again, long = fitted(seconds), fitted(seconds), fitted(2 * seconds)
    np.testing.assert_array_equal(short.transport(source), again.transport(source))
    assert short.diagnostics["steps"] == again.diagnostics["steps"]
    assert 1.5 < long.diagnostics["steps"] / short.diagnostics["steps"] < 2.5


@pytest.mark.parametrize(
    ("damage", "field", "problem"),
    [
        (lambda x: x.__setitem__((3, 1), np.nan), "source", "NaN or infinite values in 1 of 400"),
        (lambda x: x.__setitem__((slice(4), 0), np.inf), "source", "in 4 of 400"),
    ],
)
def test_values_that_are_not_finite_are_refused(damage, field: str, problem: str) -> None:
    source, target = samples()
    damage(source)
    with pytest.raises(InputError, match=problem) as caught:
        fit_map(source, target)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        (np.zeros((5, 2)), np.zeros((50, 2)), "only 5 points"),
        (np.zeros((50, 2)), np.zeros((50, 3)), "3 features, the source 2"),
        (np.zeros(50), np.zeros((50, 3)), "shape"),
    ],
)
def test_unfit_samples_are_refused(source: np.ndarray, target: np.ndarray, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        fit_map(source, target)


def hard(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 4)), rng.normal(size=(200, 4))
    if name == "duplicates":
        return np.repeat(x[:20], 10, axis=0), np.repeat(y[:30], 10, axis=0)
    if name == "constant feature":
        x[:, 0], y[:, 0] = 3.0, 5.0
    if name == "collinear":
        x[:, 1], y[:, 1] = 2.0 * x[:, 0], 2.0 * y[:, 0]
    if name == "heavy tails":
        return rng.standard_cauchy(size=(300, 4)), y
    if name == "far apart":
        return x, y + 1e4
    if name == "unequal sizes":
        return rng.normal(size=(20_000, 4)), y[:50]
    if name == "few points, many dimensions":
        return rng.normal(size=(50, 128)), rng.normal(size=(50, 128)) + 1.0
    if name == "everything constant":
        return np.full((50, 4), 2.0), np.full((50, 4), 7.0)
    return x, y


@pytest.mark.parametrize(
    "name",
    [
        "duplicates",
        "constant feature",
        "collinear",
        "heavy tails",
        "far apart",
        "unequal sizes",
        "few points, many dimensions",
        "everything constant",
    ],
)
@pytest.mark.parametrize("precondition", [True, False])
def test_hard_samples_give_finite_maps_that_bring_the_means_together(
    name: str, precondition: bool
) -> None:
    source, target = hard(name)
    fitted = fit_map(
        source,
        target,
        steps=20,
        options=SMALL,
        precondition=precondition,
        standardise=not precondition,
        select=precondition,
    )
    moved = fitted.transport(source)
    assert np.isfinite(moved).all()
    if name == "constant feature":
        np.testing.assert_allclose(moved[:, 0], 5.0, atol=1e-4)
    if name == "everything constant":
        np.testing.assert_array_equal(moved, 7.0)
    if name == "heavy tails" or not precondition:
        return  # the sample's mean isn't its distribution's; 20 steps don't lead far
    before = np.linalg.norm(source.mean(0) - target.mean(0))
    after = np.linalg.norm(moved.mean(0) - target.mean(0))
    assert after < 0.3 * before + 0.3 * target.std(0).max()
    if name == "collinear":
        np.testing.assert_allclose(moved[:, 1], 2.0 * moved[:, 0], atol=1e-3)


def test_diverging_fit_is_started_again_with_a_smaller_rate() -> None:
    source, target = samples(1000)
    wild = SemidualOptions(hidden=(16, 16), batch=64, learning_rate=200.0)
    fitted = fit_map(source, target, steps=40, options=wild)
    assert fitted.diagnostics["diverged_learning_rates"][0] == 200.0
    assert np.isfinite(fitted.transport(source)).all()


def test_a_fit_that_diverged_leaves_less_time_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def schedule(steps: int | None, seconds: float, **settings: int) -> Schedule:
        given.append(seconds)
        return Schedule(steps, seconds, **settings)

    monkeypatch.setattr("otcal.transport.network_fit.Schedule", schedule)
    hopeless = SemidualOptions(hidden=(16, 16), batch=64, learning_rate=1e8)
    fit_map(*samples(1000, d=4), budget_s=60.0, steps=40, options=hopeless)
    assert len(given) == 3
    assert 60.0 > given[0] > given[1] > given[2]


def test_fit_that_always_diverges_falls_back_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    hopeless = SemidualOptions(hidden=(16, 16), batch=64, learning_rate=1e8)
    fitted = fit_map(*samples(1000, d=4), steps=40, options=hopeless)
    assert fitted.diagnostics["winner"] == "gaussian"
    assert fitted.diagnostics["reason"] == "the fit diverged at every learning rate"
    assert "diverged" in caplog.text
    plane = fit_map(*samples(1000, d=2), steps=40, options=hopeless).diagnostics
    assert plane["reason"].startswith("the fit diverged at every learning rate; entropic")
    assert "convex" not in plane["candidates"]


@pytest.mark.parametrize(("d", "units"), [(3, (64, 64)), (4, (128, 128, 128))])
def test_the_default_network_depends_on_the_dimension(d: int, units: tuple[int, ...]) -> None:
    fitted = fit_map(*samples(100, d=d), steps=1, select=False, diagnostics=False)
    (potential,) = fitted.map.potentials
    assert isinstance(potential, ConvexPotential)
    assert potential.hidden == units
