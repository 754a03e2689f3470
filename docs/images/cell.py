"""Draws cell.png: the simulated cell, its three cameras, and what the segmenters of a stage 1 run see in them.

python docs/images/cell.py runs/stack_two/glam docs/images/cell.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from glam_sim.cell import Cell
from glam_sim.rollout import ExpertController, Recording, rollout
from glam_training.models.perception import to_network_range
from glam_training.stage1 import load_glam

STEP = 24
SIDE = 240
COLOURS = np.array([(40, 40, 46), (230, 60, 50), (50, 190, 80), (250, 200, 60)], np.uint8)


def main(run: Path, out: Path) -> None:
    """Write the picture."""
    trained = load_glam(run)
    names = [key.split("/")[1] for key in trained.contract.keys]
    with Cell("stack_two", "gen3") as cell:
        controller = ExpertController("stack_two", "gen3")
        episode = rollout(cell, controller, seed=11, max_steps=STEP, record=Recording(cameras=(*names, "overview")))
    columns = []
    for name, segmenter in zip(names, trained.perception.segmenters, strict=True):
        image = episode.images[name][-1]
        with torch.inference_mode():
            classes = segmenter(to_network_range(torch.from_numpy(image)[None]))[0].argmax(0).numpy()
        pair = [cv2.resize(x, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) for x in (image, COLOURS[classes])]
        cv2.putText(pair[0], name, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 2, cv2.LINE_AA)
        columns.append(np.concatenate(pair))
    overview = cv2.resize(episode.images["overview"][-1], (2 * SIDE * 4 // 3, 2 * SIDE), interpolation=cv2.INTER_AREA)
    picture = np.concatenate([overview, *columns], axis=1)
    cv2.imwrite(str(out), picture[..., ::-1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
