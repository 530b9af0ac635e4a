"""The training loop: the best state, when to stop, and going on exactly where it was."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from otcal.runtime import checkpoint, interruption, training
from otcal.runtime.errors import InputError
from otcal.runtime.training import Result, fit

STEPS, EVERY = 10, 4


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class KilledError(Exception):
    """Stands for the end of the process."""


class Regression:
    """A small network with dropout, Adam and a schedule: all kinds of state a fit can have."""

    def __init__(
        self, seed: int = 1, dies_at: int | None = None, dies_after: int | None = None
    ) -> None:
        torch.manual_seed(seed)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1)
        )
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=0.05)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimiser, 0.9)
        self.dies_at, self.dies_after = dies_at, dies_after
        self.seen: list[int] = []
        self.held_out = self.batch(-1)

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(16, 3, generator=torch.Generator().manual_seed(100 + number))
        return x, x.sum(1, keepdim=True).sin()

    def step(self, number: int) -> Mapping[str, float]:
        if number == self.dies_at:
            raise KilledError
        self.seen.append(number)
        self.net.train()
        x, y = self.batch(number)
        loss = (self.net(x) - y).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return {"loss": loss.item()}

    def evaluate(self) -> Mapping[str, float]:
        if self.seen[-1:] == [self.dies_after]:
            raise KilledError
        self.net.eval()
        x, y = self.held_out
        with torch.no_grad():
            return {"held_out": (self.net(x) - y).square().mean().item()}

    def state(self) -> checkpoint.Tree:
        return {
            "net": dict(self.net.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "schedule": {
                key: value
                for key, value in self.schedule.state_dict().items()
                if isinstance(value, int | float | list)
            },
        }

    def restore(self, state: checkpoint.Tree) -> None:
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])

    def weights(self) -> dict[str, torch.Tensor]:
        return dict(self.net.state_dict())


class Scripted:
    """Follows a list of held-out values; its weight is the number of the last step."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.number = -1

    def step(self, number: int) -> Mapping[str, float]:
        self.number = number
        return {"loss": float(number)}

    def evaluate(self) -> Mapping[str, float]:
        return {"held_out": self.values[self.number]}

    def state(self) -> checkpoint.Tree:
        return {"number": self.number}

    def restore(self, state: checkpoint.Tree) -> None:
        self.number = state["number"]

    def weights(self) -> dict[str, torch.Tensor]:
        return {"w": torch.tensor(self.number)}


def run(trainee: Any, path: Path | None = None, **change: Any) -> Result:
    settings: dict[str, Any] = {
        "steps": STEPS,
        "evaluate_every": EVERY,
        "monitor": "held_out",
        "label": "test",
        "checkpoint_path": path,
        "checkpoint_every_s": 0.0,
        "identity": {"width": 8},
    }
    return fit(trainee, **(settings | change))


def bits(result: Result) -> Any:
    weights = {name: t.numpy().tobytes() for name, t in result.best_weights.items()}
    return result.history, result.best_step, result.best_value, weights


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[Any, bytes]:
    torch.set_num_threads(1)
    trainee = Regression()
    result = run(trainee)
    return bits(result), trainee.net[0].weight.detach().numpy().tobytes()


@pytest.mark.parametrize("dies_at", range(STEPS))
def test_a_continued_fit_ends_with_the_same_bits(
    tmp_path: Path, uninterrupted: tuple[Any, bytes], dies_at: int
) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(KilledError):
        run(Regression(dies_at=dies_at), path)
    assert path.exists() is (dies_at > 0)
    # Another process: other initial weights, another random state.
    trainee = Regression(seed=99) if dies_at else Regression()
    result = run(trainee, path)
    assert trainee.seen == list(range(dies_at, STEPS))
    assert bits(result) == uninterrupted[0]
    assert trainee.net[0].weight.detach().numpy().tobytes() == uninterrupted[1]


@pytest.mark.parametrize("dies_after", [3, 7, 9])
def test_a_fit_that_dies_in_an_evaluation_goes_on_from_before_its_last_step(
    tmp_path: Path, uninterrupted: tuple[Any, bytes], dies_after: int
) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(KilledError):
        run(Regression(dies_after=dies_after), path)
    trainee = Regression(seed=99)
    assert bits(run(trainee, path)) == uninterrupted[0]
    assert trainee.seen == list(range(dies_after, STEPS))


@pytest.mark.parametrize("step", range(STEPS))
def test_a_signal_stops_a_fit_before_an_evaluation(
    tmp_path: Path, uninterrupted: tuple[Any, bytes], step: int
) -> None:
    """Which may be too long for the time that is left."""

    class Warned(Regression):
        evaluated = 0

        def step(self, number: int) -> Mapping[str, float]:
            if number == step:
                signal.raise_signal(signal.SIGUSR1)
            return super().step(number)

        def evaluate(self) -> Mapping[str, float]:
            self.evaluated += 1
            return super().evaluate()

    path = tmp_path / "c.safetensors"
    trainee = Warned()
    with interruption.graceful(), pytest.raises(SystemExit):
        run(trainee, path, checkpoint_every_s=1e9)
    assert (trainee.seen[-1], trainee.evaluated) == (step, step // EVERY)
    assert bits(run(Regression(seed=99), path)) == uninterrupted[0]


@pytest.mark.parametrize("patience", [None, 1])
def test_a_finished_fit_returns_at_once(tmp_path: Path, patience: int | None) -> None:
    path = tmp_path / "c.safetensors"
    values = [5.0, 4, 6, 6, 6, 0, 0, 0, 0, 0]
    whole = run(Scripted(values), path, evaluate_every=1, patience=patience)
    again = Scripted(values)
    assert bits(run(again, path, evaluate_every=1, patience=patience)) == bits(whole)
    assert again.number == whole.history[-1]["step"] - 1  # what the checkpoint says
    assert len(whole.history) == (STEPS if patience is None else 3)


@pytest.mark.parametrize("text", ["often", "-1", "nan", ""])
def test_the_pause_between_checkpoints_is_a_number_of_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("OTCAL_CHECKPOINT_EVERY_S", text)
    with pytest.raises(InputError, match="OTCAL_CHECKPOINT_EVERY_S: value: is not a number"):
        run(Regression(), tmp_path / "c.safetensors", checkpoint_every_s=None)


def test_the_pause_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.safetensors"
    monkeypatch.setenv("OTCAL_CHECKPOINT_EVERY_S", "0")
    with pytest.raises(KilledError):
        run(Regression(dies_at=7), path, checkpoint_every_s=None)
    assert checkpoint.load(path)["step"] == 7


def test_a_fit_may_die_again_and_again(tmp_path: Path, uninterrupted: tuple[Any, bytes]) -> None:
    path = tmp_path / "c.safetensors"
    for seed, dies_at in ((1, 2), (50, 3), (51, 9)):
        with pytest.raises(KilledError):
            run(Regression(seed, dies_at), path)
    assert bits(run(Regression(52), path)) == uninterrupted[0]


def test_a_fit_that_dies_before_its_first_checkpoint_starts_again(
    tmp_path: Path, uninterrupted: tuple[Any, bytes]
) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(KilledError):
        run(Regression(dies_at=7), path, checkpoint_every_s=1e9)
    assert not path.exists()
    assert bits(run(Regression(), path)) == uninterrupted[0]


def test_keeping_checkpoints_does_not_change_the_result(
    tmp_path: Path, uninterrupted: tuple[Any, bytes]
) -> None:
    assert bits(run(Regression(), tmp_path / "c.safetensors")) == uninterrupted[0]


@pytest.mark.parametrize(
    ("there", "here", "says"),
    [
        ({"width": 9}, {"width": 8}, "width was 9 and is 8"),
        (
            {"seed": 1, "net": {"depth": 2, "widths": (8, 8)}},
            {"seed": 1, "net": {"depth": 2, "widths": (8, 9)}},
            "net.widths was (8, 8) and is (8, 9)",
        ),
        ({"a": 1}, {"a": 1, "b": "new"}, "b was absent and is new"),
        ({"a": 1, "c": None}, {"a": 1}, "c was None and is absent"),
    ],
)
def test_a_checkpoint_with_other_settings_is_not_continued_and_that_is_said(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    uninterrupted: tuple[Any, bytes],
    there: dict[str, Any],
    here: dict[str, Any],
    says: str,
) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(KilledError):
        run(Regression(dies_at=6), path, identity=there)
    trainee = Regression()
    assert bits(run(trainee, path, identity=here)) == uninterrupted[0]
    assert trainee.seen[0] == 0
    assert caplog.messages == [f"{path} is of another fit: {says}; starting again"]


def test_a_checkpoint_of_other_code_is_not_continued(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: tuple[Any, bytes],
) -> None:
    path = tmp_path / "c.safetensors"
    monkeypatch.setattr(Regression, "__module__", "otcal.transport.semidual")
    with pytest.raises(KilledError):
        run(Regression(dies_at=6), path)
    monkeypatch.setattr(training, "fingerprint", lambda module: f"edited {module}")
    trainee = Regression()
    assert bits(run(trainee, path)) == uninterrupted[0]
    assert trainee.seen[0] == 0
    (message,) = caplog.messages
    assert "code was " in message
    assert message.endswith("and is edited otcal.transport.semidual; starting again")


def test_a_continued_fit_says_only_where_it_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.safetensors"
    caplog.set_level(logging.INFO)
    with pytest.raises(KilledError):
        run(Regression(dies_at=6), path)
    assert caplog.messages == []
    run(Regression(), path)
    assert caplog.messages == [f"test: continues from {path} after 6 steps"]


def stopped(path: Path) -> Any:
    """Return the checkpoint of a fit that died after its first evaluation."""
    with pytest.raises(KilledError):
        run(Regression(dies_at=6), path)
    return checkpoint.load(path)


@pytest.mark.parametrize(
    ("damage", "field", "problem"),
    [
        (
            lambda c: c["trainee"]["net"].update({"0.weight": torch.ones(9, 3)}),
            "net.0.weight",
            "has shape (9, 3), this fit has (8, 3)",
        ),
        (lambda c: c["trainee"]["net"].pop("3.bias"), "net.3.bias", "has shape (none)"),
        (
            lambda c: c["trainee"]["net"].update({"4.bias": torch.ones(2)}),
            "net.4.bias",
            "has shape (2,), this fit has (none)",
        ),
        (lambda c: c["trainee"]["net"].update({"0.bias": 1}), "net.0.bias", "has shape (none)"),
        (
            lambda c: c["result"]["best_weights"].update({"0.bias": torch.ones(1)}),
            "0.bias",
            "has shape (1,)",
        ),
        (lambda c: c["trainee"].pop("optimiser"), "state", "cannot be put back ('optimiser')"),
        (lambda c: c.pop("random"), "random", "is missing"),
        (lambda c: c["result"].update(x=1), "state", "cannot be put back"),
    ],
)
def test_a_state_that_does_not_fit_is_an_input_error(
    tmp_path: Path, damage: Any, field: str, problem: str
) -> None:
    path = tmp_path / "c.safetensors"
    content = stopped(path)
    damage(content)
    checkpoint.save(path, content)
    with pytest.raises(InputError, match="Delete it to start this fit again") as caught:
        run(Regression(), path)
    assert caught.value.where == str(path)
    assert caught.value.field == field
    assert problem in caught.value.problem
    assert path.exists()


def test_a_damaged_checkpoint_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="Delete it to start this fit again"):
        run(Regression(), path)


def test_a_file_that_is_no_fits_checkpoint_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"weights": torch.ones(2)})
    with pytest.raises(InputError, match=r"c\.safetensors: identity: is missing"):
        run(Regression(), path)


def test_history_has_means_between_evaluations_and_ends_with_the_last_step() -> None:
    result = run(Scripted([0.0] * STEPS))
    assert [row["step"] for row in result.history] == [4, 8, 10]
    assert [row["loss"] for row in result.history] == [1.5, 5.5, 8.5]


def test_length_and_evaluations_may_be_decided_on_the_way() -> None:
    trainee = Scripted([0.0] * STEPS)
    result = run(
        trainee,
        steps=lambda: 10 if trainee.number < 5 else 7,
        evaluate_every=lambda number: number in (0, 2),
    )
    assert [row["step"] for row in result.history] == [1, 3, 7]


def test_the_best_state_is_kept_not_the_last() -> None:
    result = run(Scripted([9, 5, 7, 3, 4, 3, 8, 8, 8, 8]), evaluate_every=1)
    assert (result.best_step, result.best_value) == (4, 3)
    assert result.best_weights["w"] == 3


def test_the_best_weights_are_a_copy() -> None:
    class InPlace(Scripted):
        weight = torch.zeros(1)

        def step(self, number: int) -> Mapping[str, float]:
            self.weight.fill_(number)
            return super().step(number)

        def weights(self) -> dict[str, torch.Tensor]:
            return {"w": self.weight}

    result = run(InPlace([9, 1] + [5] * 8), evaluate_every=1)
    assert result.best_weights["w"] == 1


@pytest.mark.parametrize(
    ("values", "patience", "last"),
    [
        ([5, 4, 6, 6, 6, 1, 0, 0, 0, 0], 3, 5),
        ([5, 4, 6, 6, 3, 6, 6, 6, 0, 0], 3, 8),
        ([5, 4, 4, 4, 0, 0, 0, 0, 0, 0], 2, 4),  # as good is not better
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], 1, 10),
        ([0, 9, 9, 9, 9, 9, 9, 9, 9, 9], None, 10),
    ],
)
def test_patience(values: list[float], patience: int | None, last: int) -> None:
    result = run(Scripted(values), evaluate_every=1, patience=patience)
    assert len(result.history) == last
    assert result.best_value == min(values[:last])


def test_patience_counts_evaluations_before_the_interruption(tmp_path: Path) -> None:
    class Dies(Scripted):
        def step(self, number: int) -> Mapping[str, float]:
            if number == 3:
                raise KilledError
            return super().step(number)

    values = [5.0, 4, 6, 6, 6, 0, 0, 0, 0, 0]
    path = tmp_path / "c.safetensors"
    with pytest.raises(KilledError):
        run(Dies(values), path, evaluate_every=1, patience=3)
    result = run(Scripted(values), path, evaluate_every=1, patience=3)
    assert [row["held_out"] for row in result.history] == [5, 4, 6, 6, 6]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_fit_that_diverges_says_so(bad: float) -> None:
    with pytest.raises(FloatingPointError, match="test: held_out is"):
        run(Scripted([bad] * STEPS))


def test_progress_is_reported_in_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(Scripted([0.25] * STEPS))
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("test: 10/10 steps, ")
    assert line.endswith("; held_out 0.25")
