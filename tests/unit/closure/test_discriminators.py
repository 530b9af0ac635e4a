from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import f as f_distribution
from scipy.stats import norm

from otcal.closure import discriminators
from otcal.closure.discriminators import Fitted, Task, fit_all, fit_linear, fit_mlp, prepare, unseen
from otcal.closure.jets import Sample, fold
from otcal.closure.metrics import Auc, auc
from otcal.closure.networks import Discriminator, DiscriminatorFit, Pair
from otcal.config.closure import DiscriminatorSpec, JetSelection, LinearSpec, MlpSpec
from otcal.config.splits import Splits
from otcal.runtime.errors import InputError

CPU = torch.device("cpu")
SMALL = MlpSpec(width=32, hidden_layers=1, batch=256, learning_rate=3e-3, dropout=0.1, epochs=4)
LINEAR = LinearSpec()
JETS = JetSelection(fractions={"test": 1.0})


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def sample(x: np.ndarray, first_id: int = 0) -> Sample:
    ids = np.arange(first_id, first_id + len(x), dtype=np.int64)
    return Sample(ids, fold(ids, Splits()), {"z": x.astype(np.float32)})


def gaussians(jets: int, shift: float, scale: float = 1.0, seed: int = 1) -> dict[str, Sample]:
    """Four dimensions; the target is shifted along the diagonal by `shift` in all."""
    r = np.random.default_rng(seed)
    source = r.normal(size=(jets, 4))
    target = scale * r.normal(size=(jets, 4)) + shift / 2.0
    return {"source": sample(source), "target": sample(target, 10**9)}


def area(task: dict[str, Sample], fitted: Fitted, other: str = "source") -> Auc:
    in_test = {name: unseen(one).fold == 2 for name, one in task.items()}
    return auc(*(fitted.scores[name][in_test[name]] for name in (other, "target")))


@pytest.mark.parametrize("model", ["mlp", "linear"])
def test_shifted_gaussians_are_separated_as_well_as_possible(model: str) -> None:
    samples = gaussians(16_000, shift=1.0)
    task = prepare(samples, "z", "nominal")
    fitted = fit_mlp(task, SMALL, 1, CPU) if model == "mlp" else fit_linear(task, LINEAR, 1)
    found = area(samples, fitted)
    assert abs(found.mean - norm.cdf(1.0 / np.sqrt(2.0))) < 4 * found.stat


def test_a_network_sees_a_width_and_a_line_does_not() -> None:
    samples = gaussians(16_000, shift=0.0, scale=1.4)
    task = prepare(samples, "z", "nominal")
    # The optimal score is |x|², so that AUC = P(F(4, 4) > 1/scale²).
    exact = f_distribution.sf(1.4**-2, 4, 4)
    network = area(samples, fit_mlp(task, SMALL, 1, CPU))
    assert abs(network.mean - exact) < 4 * network.stat
    line = area(samples, fit_linear(task, LINEAR, 1))
    assert abs(line.mean - 0.5) < 4 * line.stat


@pytest.mark.parametrize("whiten", [True, False])
def test_whitening_shows_a_difference_in_a_narrow_direction(whiten: bool) -> None:
    # 30 features that are one number up to 0.1 %; the samples differ in what is left, by one sigma.
    r = np.random.default_rng(6)
    common, rest = r.normal(size=(6000, 1)), 1e-3 * r.normal(size=(6000, 30))
    rest[:3000, 0] += 1e-3
    x = common + rest
    samples = {"source": sample(x[:3000]), "target": sample(x[3000:], 10**9)}
    task = prepare(samples, "z", "nominal")
    found = area(samples, fit_mlp(task, SMALL.model_copy(update={"whiten": whiten}), 1, CPU))
    if whiten:
        assert 0.68 < found.mean < norm.cdf(1.0 / np.sqrt(2.0)) + 4 * found.stat
    else:
        assert abs(found.mean - 0.5) < 4 * found.stat


def test_logit_is_the_log_density_ratio_for_unequal_samples() -> None:
    """Three times as many source jets; ln p(target)/p(source) = x·δ − δ²/2 all the same."""
    samples = gaussians(20_000, shift=1.0)
    few = samples["target"].jet_id % 3 == 0
    samples["target"] = samples["target"].take(few)
    task = prepare(samples, "z", "nominal")
    x = unseen(samples["source"]).columns["z"]
    exact = x.sum(1) / 2.0 - 0.5
    long = SMALL.model_copy(update={"dropout": 0.0, "epochs": 8})  # dropout shrinks logits
    for fitted in (fit_mlp(task, long, 1, CPU), fit_linear(task, LINEAR, 1)):
        slope, offset = np.polyfit(exact, fitted.scores["source"], 1)
        assert slope == pytest.approx(1.0, abs=0.12)
        assert offset == pytest.approx(0.0, abs=0.12)


def test_jets_learnt_by_heart_as_source_do_not_test_as_calibrated() -> None:
    """Source, its copy as calibrated, and target are all alike: whoever leaks is not at 0.5."""
    r = np.random.default_rng(3)
    x = r.normal(size=(1500, 30))
    samples = {
        "source": sample(x),
        "target": sample(r.normal(size=(1500, 30)), 10**9),
        "calibrated": sample(x + 1e-3 * r.normal(size=x.shape)),
    }
    task = prepare(samples, "z", "nominal")
    greedy = MlpSpec(
        hidden_layers=1, batch=128, dropout=0, learning_rate=3e-3, final_learning_rate=3e-3
    )
    # Stopped on its own training jets, so that nothing keeps it from learning them.
    fitted = fit_mlp(Task(task.train, task.train, task.inputs), greedy, 1, CPU)
    assert fitted.summary["validation_loss"] < 0.2
    for other in ("source", "calibrated"):
        found = area(samples, fitted, other)
        assert abs(found.mean - 0.5) < 4 * found.stat


def test_training_jets_are_never_scored() -> None:
    samples = gaussians(3000, shift=0.5)
    samples["calibrated"] = samples["source"]
    trained = {name: set(one.only("train").jet_id) for name, one in samples.items()}
    scored = {name: set(unseen(one).jet_id) for name, one in samples.items()}
    task = prepare(samples, "z", "nominal")
    assert len(task.train.y) == len(trained["source"]) + len(trained["target"])
    for one in trained.values():
        for other in scored.values():
            assert not one & other


def test_the_papers_network_has_about_a_million_parameters() -> None:
    model = Discriminator(128, MlpSpec(width=512, hidden_layers=4))
    weights = sum(weight.numel() for weight in model.parameters())
    assert weights == (128 + 1) * 512 + 4 * (512 + 1) * 512 + 5 * 2 * 512 + 513
    assert weights == pytest.approx(1.1e6, rel=0.03)


@pytest.mark.parametrize("whiten", [True, False])
def test_inputs_are_standardised_on_the_training_jets(whiten: bool) -> None:
    x = np.random.default_rng(1).normal([5.0, -3.0, 7.0], [0.01, 100.0, 0.0], size=(400, 3))
    x[:, 0] += 1e-4 * x[:, 1]
    pair = Pair.of(x[:200].astype(np.float32), x[200:].astype(np.float32))
    spec = SMALL.model_copy(update={"whiten": whiten})
    model = DiscriminatorFit(pair, pair, spec, 1, CPU).model
    inside = ((torch.from_numpy(pair.x) - model.mean) @ model.axes).numpy()
    np.testing.assert_allclose(inside.mean(0), 0.0, atol=1e-3)
    # The constant third feature stays finite.
    np.testing.assert_allclose(np.sort(inside.std(0, ddof=1)), [0.0, 1.0, 1.0], atol=1e-3)
    correlated = np.abs(inside.T @ inside / len(inside) - np.diag(np.diag(inside.T @ inside)) / 400)
    assert (correlated.max() < 1e-3) == whiten
    assert np.isfinite(model.predict(pair.x)).all()


def test_seeds_decide_everything_and_nothing_else_does() -> None:
    task = prepare(gaussians(600, shift=1.0), "z", "nominal")
    torch.manual_seed(17)
    first = fit_mlp(task, SMALL, 5, CPU)
    torch.manual_seed(18)
    second, other = fit_mlp(task, SMALL, 5, CPU), fit_mlp(task, SMALL, 6, CPU)
    np.testing.assert_array_equal(first.scores["target"], second.scores["target"])
    assert (first.scores["target"] != other.scores["target"]).mean() > 0.9


class Stopped(BaseException):
    """As when a batch system kills the job."""


def test_an_interrupted_fit_continues_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of an epoch of the second fit; dropout and order must go on as well."""
    task = prepare(gaussians(900, shift=1.0), "z", "nominal")
    spec = DiscriminatorSpec(jets=JETS, model=SMALL, fits=2, seed=3)
    straight = fit_all(task, spec, CPU, "test")

    often = partial(discriminators.fit, checkpoint_every_s=0.0)
    monkeypatch.setattr(discriminators, "fit", often)
    step, seen = DiscriminatorFit.step, []

    def dying(self: DiscriminatorFit, number: int) -> object:
        seen.append(number)
        if len(seen) == self.steps + 2 * self.steps_per_epoch + 3:
            raise Stopped
        return step(self, number)

    monkeypatch.setattr(DiscriminatorFit, "step", dying)
    with pytest.raises(Stopped):
        fit_all(task, spec, CPU, "test", tmp_path / "x.json", {"data": 1})
    assert {path.name for path in tmp_path.iterdir()} == {
        "x.json.fit0.done.safetensors",
        "x.json.fit1.safetensors",
    }
    died_at = seen[-1]
    seen.clear()
    torch.manual_seed(99)
    continued = fit_all(task, spec, CPU, "test", tmp_path / "x.json", {"data": 1})
    assert seen[0] == died_at  # neither the first fit nor the finished steps were repeated
    for one, two in zip(straight, continued, strict=True):
        assert one.summary == two.summary
        for name in one.scores:
            np.testing.assert_array_equal(one.scores[name], two.scores[name])
    discriminators.forget(tmp_path / "x.json", 2)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_other_data_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = DiscriminatorSpec(jets=JETS, model=LINEAR, fits=1, seed=3)
    tasks = [prepare(gaussians(400, shift=s), "z", "nominal") for s in (0.0, 2.0)]
    for number, task in enumerate(tasks):
        kept = fit_all(task, spec, CPU, "test", tmp_path / "x.json", {"data": number})
        fresh = fit_all(task, spec, CPU, "test")
        np.testing.assert_array_equal(kept[0].scores["target"], fresh[0].scores["target"])
    assert "another fit: data was 0 and is 1" in caplog.text


def test_a_diverging_fit_names_the_setting() -> None:
    task = prepare(gaussians(400, shift=1.0), "z", "nominal")
    wild = SMALL.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(InputError, match=r"closure.mlp: learning_rate: diverges"):
        fit_mlp(task, wild, 1, CPU)
