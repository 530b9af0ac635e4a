"""Discriminators between two samples, and how well they do on jets that no fit has seen.

[MTG] (Algren et al., arXiv:2507.08867) section 5.1, Table 3 and App. D. Three trainings:

- `nominal`: source against target. Evaluated on that pair, and on calibrated against target: can
  what told source from target still tell calibrated from target?
- `retrained`: calibrated against target. Can anything tell them?
- `floor`: two disjoint halves of the target, what a perfect calibration gives at this sample size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from otcal.closure.jets import FOLDS, Sample
from otcal.closure.networks import DiscriminatorFit, Pair
from otcal.config.closure import DiscriminatorSpec, LinearSpec, MlpSpec
from otcal.runtime import checkpoint
from otcal.runtime.errors import InputError
from otcal.runtime.fingerprint import fingerprint
from otcal.runtime.scratch import slices
from otcal.runtime.seeds import derive, numpy_generator
from otcal.runtime.training import fit

LARGEST_BOOTSTRAP = 500_000
"""Jets that fit a linear layer at most: its hundred parameters are known to 1e-4 of a nat then."""

Training = Literal["nominal", "retrained", "floor"]

OTHER: dict[str, str] = {
    "nominal": "source",
    "retrained": "calibrated",
    "floor": "target_half",
}
"""What each training tells from the target."""

EVALUATIONS: dict[str, dict[str, str]] = {
    "nominal": {"nominal": "source", "calibrated": "calibrated"},
    "retrained": {"retrained": "calibrated"},
    "floor": {"floor": "target_half"},
}
"""Evaluations of each training, and the sample that is set against the target in each."""


@dataclass(frozen=True)
class Task:
    """What one layer and training gives to every fit."""

    train: Pair
    validation: Pair
    inputs: dict[str, NDArray[np.float32]]
    """Jets outside the training fold by sample name, shapes (N, d)."""


@dataclass(frozen=True)
class Fitted:
    """One fitted discriminator, reduced to what is kept of it."""

    summary: dict[str, Any]
    """JSON-ready: seed, parameters, validation_loss, and what the model has besides."""
    scores: dict[str, NDArray[np.float32]]
    """Logits of each of the task's inputs, shapes (N,)."""


def prepare(samples: Mapping[str, Sample], layer: str, training: Training) -> Task:
    """Divide samples by fold for the fits of one layer and training.

    Parameters
    ----------
    samples
        The target, the training's other sample (`OTHER`), and all that are evaluated, by name.
    layer
        Column of the samples that is the input.
    training
        See the module.
    """
    train, validation = (
        Pair.of(
            samples[OTHER[training]].only(name).columns[layer],
            samples["target"].only(name).columns[layer],
            samples["target"].scratch,
        )
        for name in ("train", "validation")
    )
    inputs = {name: unseen(sample).columns[layer] for name, sample in samples.items()}
    return Task(train, validation, inputs)


def unseen(sample: Sample) -> Sample:
    """Return the jets outside the training fold: those whose scores are kept."""
    return sample.take(sample.fold != FOLDS.index("train"))


def fit_all(
    task: Task,
    spec: DiscriminatorSpec,
    device: torch.device,
    label: str,
    checkpoints: Path | None = None,
    identity: Mapping[str, Any] | None = None,
) -> list[Fitted]:
    """Fit a discriminator `spec.fits` times and score the jets that it was not trained on.

    Parameters
    ----------
    task
        Jets of one layer and training.
    spec
        Model, number of fits and seed.
    device
        Where D_L is fitted.
    label
        Names the task: for the progress line, and for the seeds.
    checkpoints
        Checkpoints are put beside this file; those of finished fits stay until `forget`.
    identity
        JSON-ready description of data and settings; a checkpoint of another one is not used.
    """
    fitted = []
    for number in range(spec.fits):
        seed = derive(spec.seed, label, number)
        known = {"code": fingerprint(__name__), **(identity or {}), "seed": seed}
        unfinished, done = _kept(checkpoints, number) if checkpoints else (None, None)
        if done is not None and done.exists():
            saved = checkpoint.load_own(done, known)
            if saved is not None:
                scores = {name: values.numpy() for name, values in saved["scores"].items()}
                fitted.append(Fitted(saved["summary"], scores))
                continue
        if isinstance(spec.model, LinearSpec):
            result = fit_linear(task, spec.model, seed)
        else:
            name = f"{label} {number + 1}/{spec.fits}"
            result = fit_mlp(task, spec.model, seed, device, name, unfinished, known)
        if done is not None and unfinished is not None:
            tensors = {name: torch.from_numpy(values) for name, values in result.scores.items()}
            checkpoint.save(done, {"identity": known, "summary": result.summary, "scores": tensors})
            unfinished.unlink(missing_ok=True)
        fitted.append(result)
    return fitted


def forget(checkpoints: Path, fits: int) -> None:
    """Remove what `fit_all` kept beside `checkpoints`."""
    for number in range(fits):
        for path in _kept(checkpoints, number):
            path.unlink(missing_ok=True)


def fit_mlp(
    task: Task,
    spec: MlpSpec,
    seed: int,
    device: torch.device,
    label: str = "D_L",
    checkpoint_path: Path | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Fitted:
    """Fit D_L once; the epoch with the lowest held-out loss is kept.

    Raises
    ------
    InputError
        When the fit diverges.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trainee = DiscriminatorFit(task.train, task.validation, spec, seed, device)
        try:
            result = fit(
                trainee,
                steps=trainee.steps,
                evaluate_every=trainee.steps_per_epoch,
                monitor="validation_loss",
                label=label,
                patience=spec.patience,
                checkpoint_path=checkpoint_path,
                identity=identity,
            )
        except FloatingPointError as error:
            raise InputError(
                "closure.mlp", "learning_rate", f"diverges ({error})", "Choose a smaller one"
            ) from None
    trainee.model.load_state_dict(result.best_weights)
    summary = {
        "seed": seed,
        "parameters": sum(weight.numel() for weight in trainee.model.parameters()),
        "validation_loss": result.best_value,
        "epochs": len(result.history),
        "best_epoch": result.best_step // trainee.steps_per_epoch,
        "history": result.history,
    }
    scores = {name: trainee.model.predict(x) for name, x in task.inputs.items()}
    return Fitted(summary, scores)


def fit_linear(task: Task, spec: LinearSpec, seed: int) -> Fitted:
    """Fit one linear layer to its optimum; the penalty with the lowest held-out loss is kept.

    The problem is convex, so that a seed for its start would not matter: each fit takes its own
    bootstrap sample of the training jets instead, and the spread over fits shows how much the
    training sample decides. A bootstrap sample has at most `LARGEST_BOOTSTRAP` jets.
    """
    # Seconds to import, and the other model has no use for it.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    generator = numpy_generator(seed, "bootstrap")
    jets = len(task.train.y)
    chosen = generator.integers(0, jets, min(jets, LARGEST_BOOTSTRAP))
    x, y, weights = task.train.x[chosen], task.train.y[chosen], task.train.weights[chosen]
    best = None
    for penalty in spec.penalties:
        model = make_pipeline(
            StandardScaler(),
            # scikit-learn's C multiplies the sum of the losses, a penalty per jet their mean.
            LogisticRegression(C=1.0 / (penalty * len(y)), solver="newton-cholesky"),
        )
        model.fit(x, y, logisticregression__sample_weight=weights)
        held_out = task.validation
        probability = _piecewise(model.predict_proba, held_out.x)
        loss = log_loss(held_out.y, probability, sample_weight=held_out.weights)
        if best is None or loss < best[0]:
            best = loss, penalty, model
    assert best is not None  # the configuration has at least one penalty
    loss, penalty, model = best
    summary = {
        "seed": seed,
        "parameters": task.train.x.shape[1] + 1,
        "validation_loss": float(loss),
        "penalty": penalty,
    }
    scores = {
        name: _piecewise(model.decision_function, inputs).astype(np.float32)
        for name, inputs in task.inputs.items()
    }
    return Fitted(summary, scores)


def _piecewise(
    function: Callable[[NDArray[np.float32]], NDArray[Any]], x: NDArray[np.float32]
) -> NDArray[Any]:
    return np.concatenate([function(x[rows]) for rows in slices(len(x))])


def _kept(checkpoints: Path, number: int) -> tuple[Path, Path]:
    """Return where an unfinished fit and a finished one are kept."""
    stem = f"{checkpoints.name}.fit{number}"
    unfinished, done = (f"{stem}{state}.safetensors" for state in ("", ".done"))
    return checkpoints.with_name(unfinished), checkpoints.with_name(done)
