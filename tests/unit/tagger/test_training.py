from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from otcal.config.tagger import Training
from otcal.runtime.training import fit
from otcal.tagger.batches import padded, workers
from otcal.tagger.network import Tagger
from otcal.tagger.training import TaggerTrainee, learning_rate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def samples(make_jets, ragged, preprocess):
    train, validation = ragged(make_jets(400, 1)), ragged(make_jets(200, 2))
    transform = preprocess(train)
    return {"train": transform(train), "validation": transform(validation)}


def settings(**changes) -> Training:
    quick = {
        "epochs": 3,
        "batch_size": 50,
        "micro_batch": 16,
        "learning_rate": 3e-3,
        "warmup_steps": 4,
        "precision": "float32",
    }
    return Training(**(quick | changes))


def trainee(samples, each=map, dropout=0.1, **changes) -> TaggerTrainee:
    torch.manual_seed(5)
    network = Tagger(
        constituent_features=7,
        jet_features=5,
        classes=10,
        d_model=32,
        blocks=2,
        heads=4,
        expansion=2,
        dropout=dropout,
        head=[16, 16, 16],
    )
    return TaggerTrainee(
        network, **samples, settings=settings(**changes), seed=7, device=CPU, each=each
    )


def weights(one: TaggerTrainee) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in one.parameters])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_tagger_learns(samples, precision: str) -> None:
    one = trainee(samples, precision=precision, epochs=6)
    before = one.evaluate()
    assert before["validation_loss"] == pytest.approx(np.log(10), abs=0.1)
    result = fit(one, steps=one.steps, evaluate_every=16, monitor="validation_loss", label="t")
    assert one.steps == 48
    assert [row["step"] for row in result.history] == [16, 32, 48]
    assert result.best_value < before["validation_loss"] - 0.3
    assert result.history[-1]["validation_accuracy"] > 0.2


def test_micro_batches_add_up_to_the_batch(samples) -> None:
    one = trainee(samples, dropout=0.0, clip=1e9)
    expected = trainee(samples, dropout=0.0)
    batch = one._jets(0)
    labels = torch.from_numpy(samples["train"].labels[batch].astype(np.int64))
    loss = cross_entropy(expected.network(*padded(samples["train"], batch, CPU)), labels)
    loss.backward()
    metrics = one.step(0)
    assert metrics["train_loss"] == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(one.parameters, expected.parameters, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-3)


def test_gradients_are_clipped(samples) -> None:
    one = trainee(samples, clip=1e-3)
    one.step(0)
    norm = torch.cat([p.grad.reshape(-1) for p in one.parameters]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_threads_do_not_change_a_bit(samples) -> None:
    before = torch.get_num_threads()
    states = []
    for count in (1, 2, 3):
        with workers(count, CPU) as each:
            one = trainee(samples, each=each)
            for number in range(5):
                one.step(number)
            states.append((weights(one), one.evaluate()))
    assert torch.get_num_threads() == before
    for state, metrics in states[1:]:
        assert torch.equal(state, states[0][0])
        assert metrics == states[0][1]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_stopped_training_continues_to_the_same_bits(samples, tmp_path, precision: str) -> None:
    arguments = {"steps": 24, "evaluate_every": 6, "monitor": "validation_loss", "label": "t"}

    def stopped(at: int | None) -> TaggerTrainee:
        one = trainee(samples, precision=precision)
        if at is not None:
            step = one.step

            def until(number: int):
                if number == at:
                    raise KeyboardInterrupt
                return step(number)

            one.step = until
        return one

    whole = stopped(None)
    expected = fit(whole, **arguments)

    path = tmp_path / "checkpoint.safetensors"
    keep = {"checkpoint_path": path, "checkpoint_every_s": 0, "identity": {"a": 1}}
    for at in (5, 15):
        with pytest.raises(KeyboardInterrupt):
            fit(stopped(at), **arguments, **keep)
        assert path.exists()
    last = stopped(None)
    result = fit(last, **arguments, **keep)

    assert torch.equal(weights(last), weights(whole))
    assert result.history == expected.history
    assert result.best_step == expected.best_step
    for name, value in expected.best_weights.items():
        assert torch.equal(result.best_weights[name], value)


def test_an_epoch_visits_jets_once_and_epochs_differ(samples) -> None:
    one = trainee(samples)
    epochs = [np.concatenate([one._jets(8 * e + i) for i in range(8)]) for e in range(2)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(400))
    assert (epochs[0] != epochs[1]).any()
    np.testing.assert_array_equal(trainee(samples)._jets(11), epochs[1][150:200])


def test_learning_rate() -> None:
    cosine = settings(learning_rate=1.0, warmup_steps=4, schedule="cosine")
    rates = [learning_rate(step, 24, cosine) for step in range(24)]
    np.testing.assert_allclose(rates[:5], [0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[14] == pytest.approx(0.5)
    assert all(later < earlier for earlier, later in pairwise(rates[4:]))
    assert learning_rate(24, 24, cosine) == pytest.approx(0)
    constant = settings(learning_rate=1.0, warmup_steps=4, schedule="constant")
    assert [learning_rate(step, 24, constant) for step in (3, 4, 23)] == [1, 1, 1]
