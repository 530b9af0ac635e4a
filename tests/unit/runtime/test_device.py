"""Devices that are there, and a clear word when one is not."""

from __future__ import annotations

import pytest
import torch

from otcal.runtime.device import autocast, fastest_precision, limit_threads, resolve
from otcal.runtime.errors import InputError


def have(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "name"),
    [(False, False, "cpu"), (True, False, "cuda"), (False, True, "mps"), (True, True, "cuda")],
)
def test_auto_takes_the_first_accelerator(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, name: str
) -> None:
    have(monkeypatch, cuda=cuda, mps=mps)
    assert resolve("auto") == torch.device(name)


def test_a_device_is_taken_by_name_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, cuda=True, mps=False)
    assert resolve("cpu") == torch.device("cpu")
    assert resolve("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "tpu", ""])
def test_a_device_that_is_not_there_is_an_input_error(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    have(monkeypatch, cuda=False, mps=False)
    with pytest.raises(InputError, match=f"device: '{name}' is not available") as caught:
        resolve(name)
    assert caught.value.remedy == "Use auto or: cpu"


def test_precision_of_a_matrix_product() -> None:
    cpu = torch.device("cpu")
    a = torch.ones(4, 4)
    with autocast(cpu, "float32"):
        assert (a @ a).dtype == torch.float32
    with autocast(cpu, "bfloat16"):
        assert (a @ a).dtype == torch.bfloat16
    assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": True}, torch.bfloat16),
        ({}, torch.float32),
    ],
)
def test_automatic_precision_is_what_the_cpu_multiplies_in(
    capabilities: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    fastest_precision.cache_clear()
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities)
    a = torch.ones(4, 4)
    with autocast(torch.device("cpu"), "auto"):
        assert (a @ a).dtype == expected
    fastest_precision.cache_clear()


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_automatic_precision_on_a_gpu(
    native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fastest_precision.cache_clear()
    monkeypatch.setattr(
        "torch.cuda.is_bf16_supported", lambda including_emulation: native or including_emulation
    )
    assert fastest_precision(torch.device("cuda")) == expected
    assert fastest_precision(torch.device("mps")) == "float32"
    fastest_precision.cache_clear()


def test_threads_are_limited_only_when_asked() -> None:
    before = torch.get_num_threads()
    try:
        limit_threads(1)
        limit_threads(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
