"""`glam train`: stage 1 (`glam`), stage 2 (`policy`) and the baseline (`mip`)."""

from __future__ import annotations

import sys
from typing import Annotated

import tyro

from glam_training.stage1 import GlamTrainConfig, train_glam
from glam_training.stage2 import PolicyTrainConfig, train_mip, train_policy

Glam = Annotated[
    GlamTrainConfig, tyro.conf.subcommand("glam", description="Stage 1: one latent action space for all sources.")
]
Policy = Annotated[
    PolicyTrainConfig,
    tyro.conf.subcommand("policy", description="Stage 2: a policy that predicts chunks of latent actions."),
]
Baseline = Annotated[
    PolicyTrainConfig,
    tyro.conf.subcommand("mip", description="Baseline: MIP on the raw actions of the target demonstrations."),
]

TRAINERS = {"glam": train_glam, "policy": train_policy, "mip": train_mip}


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam train`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    config = tyro.cli(Glam | Policy | Baseline, prog="glam train", args=arguments)
    path = TRAINERS[arguments[0]](config)
    print(f"finished: {path}")
