"""Classes and backgrounds in the settings of the tagger's steps."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from otcal.config.tagger import EvaluateSpec, PreprocessingSpec, TaggerConfig, TrainSpec
from otcal.samples.classes import CLASSES

FLAVOURS = ("b", "c", "light")


def test_the_ten_classes_are_the_default() -> None:
    config = TaggerConfig()
    assert config.classes == CLASSES
    assert config.backgrounds == ("QCD",)
    for spec, name in (
        (config.preprocessing_spec(), "classes"),
        (config.train_spec(1), "classes"),
        (config.evaluate_spec(), "backgrounds"),
    ):
        content = json.loads(spec.model_dump_json())
        assert content.pop(name) == list(CLASSES if name == "classes" else ("QCD",))
        assert type(spec).model_validate(content) == spec


def test_a_taggers_own_classes_reach_its_steps() -> None:
    config = TaggerConfig(classes=FLAVOURS, backgrounds=("light", "c"))
    specs = config.preprocessing_spec(), config.train_spec(1), config.evaluate_spec()
    assert [type(spec) for spec in specs] == [PreprocessingSpec, TrainSpec, EvaluateSpec]
    assert specs[0].classes == specs[1].classes == FLAVOURS
    assert specs[2].backgrounds == ("light", "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": FLAVOURS}, "'QCD' is none of the classes b, c, light"),
        ({"classes": ("b", "c", "b"), "backgrounds": ("b",)}, "'b' is there twice"),
        ({"classes": ("b",), "backgrounds": ("b",)}, "at least 2"),
        ({"backgrounds": ()}, "at least 1"),
        ({"backgrounds": ("QCD", "QCD")}, "'QCD' is there twice"),
    ],
)
def test_classes_that_make_no_sense_are_refused(change, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TaggerConfig(**change)
