"""The optimisation loop's choice of arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from glam_training.fit import DeviceConfig, make_fabric


@pytest.mark.parametrize(
    ("abilities", "precision"), [({"avx2": True}, "32-true"), ({"avx2": True, "avx512_bf16": True}, "bf16-mixed")]
)
def test_bfloat16_only_where_the_cpu_multiplies_it(monkeypatch, abilities, precision):
    """Emulated, a step of the segmenter takes 16 s instead of one."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
    assert make_fabric(DeviceConfig(accelerator="cpu"), "auto")._precision.precision == precision


def test_a_precision_that_was_asked_for_is_used(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert make_fabric(DeviceConfig(accelerator="cpu"))._precision.precision == "32-true"


def test_in_bfloat16_batches_stay_exact_and_products_are_rounded():
    class Watched(nn.Linear):
        def forward(self, x):
            seen.append((x.clone(), super().forward(x)))
            return seen[-1][1].float().sum()

    seen, x = [], torch.full((1, 3), 1.001)
    fabric = make_fabric(DeviceConfig(accelerator="cpu"), "bf16-mixed")
    fabric.setup_module(Watched(3, 2))(x)
    ((given, product),) = seen
    assert torch.equal(given, x) and product.dtype == torch.bfloat16
