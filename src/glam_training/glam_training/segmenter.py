"""First phase of stage 1: segmenters that find objects and fingers in the images of every source."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glam_training.fit import DeviceConfig, OptimConfig, fit, make_fabric, random_rows
from glam_training.models.perception import ImagePerception, to_network_range
from glam_training.run import Run
from glam_training.slots import Source, check_mask_values

DICE_WEIGHT = 0.5
"""Of the overlap, beside the cross-entropy."""
_PRESENT = 1.0  # pixels; a class that is nowhere in a batch, and claimed nowhere, costs nothing


def train_segmenter(
    perception: ImagePerception,
    sources: list[Source],
    cameras: list[str],
    optim: OptimConfig,
    *,
    run: Run,
    device: DeviceConfig,
    seed: int,
) -> ImagePerception:
    """Train the segmenters of all cameras on the masks of every source, sources in equal parts.

    Args:
        perception: Untrained.
        sources: Stores with images and masks.
        cameras: Names, in the order of the perception's inputs.
        optim: Budget and optimiser.
        run: Receives metrics and checkpoints.
        device: Where to train; always in its fastest precision.
        seed: Seed of the batches.

    Returns:
        The trained perception, on the CPU.
    """
    fabric = make_fabric(device, "auto")
    data = []
    for source in sources:
        keys = [f"{kind}/{camera}" for kind in ("images", "masks") for camera in cameras]
        loaded = source.store.load(keys, source.episodes, scratch=run.path)
        for camera in cameras:
            check_mask_values(source.store, camera, loaded[f"masks/{camera}"])
        arrays = {key: torch.from_numpy(values) for key, values in loaded.items()}
        data.append([(arrays[f"images/{camera}"], arrays[f"masks/{camera}"]) for camera in cameras])
    share = max(1, optim.batch_size // len(sources))

    def draw(generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        rows = [random_rows(source.frames, share, generator) for source in sources]
        batch = []
        for camera in range(len(cameras)):
            images = torch.cat([d[camera][0][r] for d, r in zip(data, rows, strict=True)])
            masks = torch.cat([d[camera][1][r] for d, r in zip(data, rows, strict=True)])
            batch.append((photometric(to_network_range(images), generator).to(fabric.device), masks.to(fabric.device)))
        return batch

    objective = fit(SegmenterObjective(perception), draw, optim, run=run, fabric=fabric, phase="segmenter", seed=seed)
    assert isinstance(objective, SegmenterObjective)
    return objective.perception.cpu()


class SegmenterObjective(nn.Module):
    """Cross-entropy and overlap of every camera's segmenter with the object masks.

    Cross-entropy alone is a mean over pixels, and each thing is fewer than one in a hundred of them.
    """

    def __init__(self, perception: ImagePerception) -> None:
        super().__init__()
        self.perception = perception

    def forward(self, batch: list[tuple[Tensor, Tensor]], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of one batch: per camera images (B, 3, H, W) in [-0.5, 0.5] and masks (B, H, W) uint8."""
        classes = 1 + self.perception.slots
        losses, overlaps = [], []
        for segmenter, (image, mask) in zip(self.perception.segmenters, batch, strict=True):
            # Contiguous like the masks: tensors of two layouts are slow together.
            logits = segmenter(image.contiguous(memory_format=torch.channels_last)).float().contiguous()
            log_p = logits.log_softmax(1)
            p, q = log_p[:, 1:].exp(), class_maps(mask, classes)[:, 1:]
            losses.append(F.nll_loss(log_p, mask.long()) + DICE_WEIGHT * dice_loss(p, q))
            both = (p.detach() * q).sum()
            overlaps.append(both / (p.detach().sum() + q.sum() - both))
        loss = torch.stack(losses).sum()
        return loss, {"loss": loss.detach(), "soft_iou": torch.stack(overlaps).mean()}


def dice_loss(p: Tensor, q: Tensor) -> Tensor:
    """How far probabilities are from masks, each class counting alike however few pixels it has.

    D = mean over classes of 1 - 2 sum(p q) / (sum(p^2) + sum(q^2)), with sums over batch and pixels (Milletari, Navab
    and Ahmadi, "V-Net", 2016).

    Args:
        p: (B, S, h, w) probabilities.
        q: (B, S, h, w) true ones.
    """
    axes = (0, 2, 3)
    size = (p.square() + q.square()).sum(axes)
    return (1.0 - (2.0 * (p * q).sum(axes) + _PRESENT) / (size + _PRESENT)).mean()


def class_maps(mask: Tensor, classes: int) -> Tensor:
    """Masks (B, H, W) uint8 as one map per class: (B, classes, H, W) float32, 1 where the class is."""
    numbers = torch.arange(classes, dtype=torch.uint8, device=mask.device)[:, None, None]
    return (mask[:, None] == numbers).float()


def photometric(image: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Random colour gains and brightness per image (or pair); (B, ..., 3, H, W) in [-0.5, 0.5]."""
    shape = (image.shape[0], *[1] * (image.ndim - 4))
    gain = 1.0 + 0.15 * torch.randn(*shape, 3, 1, 1, generator=generator, device=image.device)
    offset = 0.06 * torch.randn(*shape, 1, 1, 1, generator=generator, device=image.device)
    return image * gain + offset
