"""One optimisation loop for every network: AdamW, warm-up and cosine decay, gradient clipping, EMA weights, metrics,
checkpoints, resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from glam_core.errors import DataError
from glam_training.costs import PhaseCost, add_cost, measured_memory, milliseconds
from glam_training.run import Run, load_weights

Batch = Any
Draw = Callable[[torch.Generator], Batch]
"""Makes one batch on the training device; all its randomness comes from the generator."""


@dataclass(frozen=True)
class DeviceConfig:
    """Where training runs; the defaults take a GPU if there is one."""

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Kind of device."""
    devices: int = 1
    """How many of them; batches are per device."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "32-true"
    """Arithmetic of the heads; "auto" is bf16-mixed where the device multiplies bfloat16 itself, which is two to four
    times faster, else 32-true: a CPU without such instructions is ten times slower in it. The segmenter is always
    "auto"."""


@dataclass(frozen=True)
class OptimConfig:
    """Budget and optimiser of one network."""

    steps: int = 4000
    """Gradient steps."""
    batch_size: int = 256
    """Examples per step and device (of each source, where there are two)."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 1e-5
    """Decoupled weight decay."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    gradient_clip: float = 10.0
    """Largest gradient norm."""
    ema_decay: float = 0.995
    """Decay of the averaged weights, which are the ones that are kept."""


def make_fabric(device: DeviceConfig, precision: str | None = None) -> Fabric:
    """A launched Fabric for `device`; `precision` overrides the configured one."""
    chosen = precision or device.precision
    on_gpu = device.accelerator != "cpu" and torch.cuda.is_available()
    kind = "cuda" if on_gpu else "cpu"
    if chosen == "auto":
        chosen = "bf16-mixed" if multiplies_bfloat16(kind) else "32-true"
    plugins = [_MixedBfloat16("bf16-mixed", kind)] if chosen == "bf16-mixed" else []
    given = None if plugins else chosen
    fabric = Fabric(accelerator=device.accelerator, devices=device.devices, precision=given, plugins=plugins)
    fabric.launch()
    return fabric


class _MixedBfloat16(MixedPrecision):
    """bfloat16 for what a network multiplies. Fabric's own rounds batches as well, to eight bits, before anything is
    done with them: positions in an image to a tenth of a pixel, and labels."""

    def convert_input(self, data: Any) -> Any:
        """Leave a batch as it is."""
        return data


def multiplies_bfloat16(device_type: str) -> bool:
    """Whether the GPU ("cuda") or the processor ("cpu") has instructions for bfloat16."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    abilities = torch.cpu.get_capabilities()
    return any(abilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def fit(
    objective: nn.Module,
    draw: Draw,
    config: OptimConfig,
    *,
    run: Run,
    fabric: Fabric,
    phase: str,
    seed: int,
    log_every: int = 50,
    sides: int = 1,
) -> nn.Module:
    """Minimise `objective(batch, progress) -> (loss, terms)` and return the module with EMA weights.

    Args:
        objective: Network and loss in one module, so that Fabric may wrap it for several devices. `progress` rises
            from 0 to 1.
        draw: Makes one batch from a seeded generator.
        config: Budget and optimiser.
        run: Receives metrics under "<phase>/<term>" and checkpoints under the name of the phase.
        fabric: Device, precision, processes.
        phase: Name of this optimisation inside the run.
        seed: Base seed of the batches.
        log_every: Steps between two rows of metrics.
        sides: How many times the configured batch size a batch holds.

    Returns:
        The EMA copy of `objective`, on the training device, in evaluation mode. A finished phase is loaded, not
        trained again.
    """
    ema = AveragedModel(objective, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)).to(fabric.device)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    model, optimizer = fabric.setup(objective, optimizer)
    start = 0
    if (state := run.latest(phase)) is not None:
        load_weights(objective, state["model"], run.path)
        load_weights(ema, state["ema"], run.path)
        optimizer.load_state_dict(state["optimizer"])
        start = int(state["step"])
        run.rewind(start, f"{phase}/")
    model.train()
    begun = last_save = time.monotonic()
    bar = tqdm(
        range(start, config.steps),
        initial=start,
        total=config.steps,
        desc=phase,
        disable=fabric.global_rank != 0,
        mininterval=2.0,
    )
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        # Every step has a seed of its own, for batches, posterior samples and dropout: a resumed run repeats
        # an uninterrupted one.
        step_seed = hash((seed, step, fabric.global_rank)) % 2**63
        torch.manual_seed(step_seed)
        generator = torch.Generator().manual_seed(step_seed)
        loss, terms = model(draw(generator), step / config.steps)
        fabric.backward(loss)
        norm = fabric.clip_gradients(model, optimizer, max_norm=config.gradient_clip, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.update_parameters(objective)
        done = step + 1
        if (done % log_every == 0 or done == config.steps) and fabric.global_rank == 0:
            row = {f"{phase}/{name}": float(value) for name, value in terms.items()}
            row[f"{phase}/gradient_norm"] = float(norm) if norm is not None else math.nan
            _require_finite(row, phase, done)
            run.log(done, row)
            bar.set_postfix({name.split("/")[-1]: f"{value:.3g}" for name, value in row.items()}, refresh=False)
        if (done == config.steps or time.monotonic() - last_save > 60.0) and fabric.global_rank == 0:
            last_save = time.monotonic()
            state = {
                "model": objective.state_dict(),
                "ema": ema.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": done,
            }
            run.save(state, done, phase)
    if start < config.steps and fabric.global_rank == 0:
        seconds, steps = time.monotonic() - begun, config.steps - start
        drawing_ms = milliseconds(lambda: draw(torch.Generator().manual_seed(seed)))
        device, memory = measured_memory(fabric.device)
        examples = sides * config.batch_size * fabric.world_size
        cost = PhaseCost(steps, seconds, 1, memory, device, 1e3 * seconds / steps, drawing_ms, examples)
        add_cost(run.path, phase, cost)
    return ema.module.eval()


def random_rows(count: int, size: int, generator: torch.Generator) -> Tensor:
    """`size` row numbers below `count`, drawn with replacement: (size,) int64."""
    return torch.randint(count, (size,), generator=generator)


def _schedule(step: int, config: OptimConfig) -> float:
    """Linear warm-up, then cosine decay to zero."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _require_finite(row: dict[str, float], phase: str, step: int) -> None:
    bad = [name for name, value in row.items() if not math.isfinite(value) and not name.endswith("gradient_norm")]
    if bad:
        raise DataError(
            f"{phase}: {', '.join(bad)} became non-finite at step {step}; "
            "lower the learning rate or check the data for outliers"
        )
