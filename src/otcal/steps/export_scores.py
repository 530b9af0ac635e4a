"""Write the class probabilities that the tagger gives each jet, with label and kinematics.

The jets are degraded first when the settings say so: pseudo-data are jets of the simulation that
are seen worse. Jets are read, computed and written in row groups: memory does not grow with their
number.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import softmax

from otcal.config.scores import ScoreSpec
from otcal.runtime import cli, device, provenance
from otcal.samples.scores import Scores, score_writer
from otcal.samples.tables import to_numpy
from otcal.simplex import check_probabilities
from otcal.simulation.degradation import degrade, needed
from otcal.tagger.saved import load_tagger
from otcal.tagger.streaming import stream


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--jets", nargs="+", action=cli.NumberedFiles, required=True, help="jets of one dataset"
    )
    parser.add_argument("--tagger", type=Path, required=True, help="weights (.safetensors)")
    parser.add_argument("--output", type=Path, required=True, help="scores (.parquet)")
    args = parser.parse_args(argv)
    spec = cli.load_spec(args.spec, ScoreSpec)
    where = device.resolve(args.device)
    tagger = load_tagger(args.tagger)
    names = [f"p_{name}" for name in tagger.classes]
    record = provenance.record("export_scores", spec.model_dump(), [*args.jets, args.tagger])
    pieces = stream(
        tagger,
        args.jets,
        ["jet_pt", "jet_eta", *(needed(spec.degradation) if spec.degradation else [])],
        spec.inference,
        device=where,
        threads=args.threads,
        label="scores",
        change=partial(degrade, spec=spec.degradation) if spec.degradation else None,
    )
    floored = 0
    with score_writer(args.output, tagger.classes, record) as writer:
        for piece in pieces:
            p = softmax(piece.layers[-1].astype(np.float64), axis=1)
            # As it will be on disk: what vanishes there must not get there.
            stored = p.astype(np.float32)
            p, raised = check_probabilities(stored, piece.path, spec.floor, names, piece.first)
            floored += raised
            pt, eta = (to_numpy(piece.table[name]) for name in ("jet_pt", "jet_eta"))
            scores = Scores(piece.ids, piece.labels, pt, eta, p)
            writer.write_table(scores.to_table(tagger.classes))
    if floored:
        logging.warning("probabilities of %d jets raised to %g", floored, spec.floor)


if __name__ == "__main__":
    cli.run(main)
