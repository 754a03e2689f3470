"""From observations to what the latent-action model and the policy see.

GLAM-O grounds latent actions in objects. A small segmenter, trained on the object masks of every source, turns each
camera image into one *slot* per object (and one for the gripper's fingers): the moments of its mask. Masks are needed
for the segmenter's loss alone; the robot sees nothing but images. Without masks there are keypoints
(`models/keypoints.py`), each with a *glimpse*: a small patch of the image around it.

Departure from the published description, which trains everything jointly: the segmenter is trained first and then
frozen. Slots can therefore be computed once per data set, and everything after them trains in minutes on two CPU cores.

Symbols: B batch, C cameras, S slots per camera (objects, then fingers), M moments, G glimpses, P samples along a side
of a glimpse.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glam_training.models.blocks import Standardizer

MOMENTS_PER_SLOT = 8  # u, v, log mass, var u, var v, cov uv, and the fourth-order pair
_DOUBT = 0.3  # class probabilities up to it count for nothing: faint ones far away would rule the higher moments
_MASS_FLOOR = 8.0  # pixels; below it a slot drifts to the image centre instead of jumping


@dataclass(frozen=True)
class Thing:
    """Which moments say where something is, and how it is turned.

    Attributes:
        position: columns of its coordinates: x, y and z, or only the first of them.
        turn: columns of a cosine and a sine; None where nothing tells.
        folds: by how many times its angle these two turn: 4, as those of a square do, or 1.
    """

    position: tuple[int, ...]
    turn: tuple[int, int] | None = None
    folds: int = 4


Views = tuple[tuple[Thing, ...], ...]
"""Things that can be compared with each other, view by view."""


class Perception(Protocol):
    """Observations to moments (B, M) and glimpses (B, G, 3, P, P).

    Attributes:
        moment_floor: least standard deviation by which a moment is divided.
        glimpse_samples: P.
        scales: distances that are near, and far, in the unit of the things' positions.
    """

    moment_floor: float
    glimpse_samples: int
    scales: tuple[float, ...]

    @property
    def moment_size(self) -> int:
        """M."""
        ...

    @property
    def glimpse_count(self) -> int:
        """G."""
        ...

    @property
    def views(self) -> Views:
        """The things that the moments tell of."""
        ...


@dataclass(frozen=True)
class PerceptionConfig:
    """Sizes of the segmenter (or of the network behind the keypoints) and of the glimpses."""

    segmenter_width: int = 16
    """Channels of the first convolution; later ones are multiples of it."""
    glimpse_px: int = 24
    """Side of the square glimpse around each keypoint, in image pixels."""
    glimpse_samples: int = 16
    """P: the glimpse around each keypoint is sampled P x P times."""
    keypoints: int = 12
    """K: keypoints per camera, where there are no masks to learn slots from."""


class CellNetwork(nn.Module):
    """Logits for every cell of two by two pixels of an image.

    Args:
        maps: Logits per cell.
        width: Channels of the first convolution; later ones are multiples of it.
    """

    def __init__(self, maps: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 5, stride=2, padding=2)
        self.fine = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.coarse = nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)
        self.context = nn.Conv2d(4 * width, 4 * width, 3, padding=1)
        self.read_out = nn.Conv2d(6 * width, maps, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-0.5, 0.5] to logits (B, maps, H/2, W/2)."""
        fine = self.fine(self.stem(image).relu_()).relu_()
        context = self.context(self.coarse(fine).relu_()).relu_()
        # The read-out of both maps side by side, in two parts: enlarging logits is cheaper than enlarging features.
        of_fine, of_context = self.read_out.weight.split([fine.shape[1], context.shape[1]], dim=1)
        enlarged = F.interpolate(F.conv2d(context, of_context), scale_factor=2.0, mode="nearest")
        return F.conv2d(fine, of_fine, self.read_out.bias) + enlarged


class Segmenter(nn.Module):
    """Class logits of every pixel. Classes: background, objects in task order, gripper fingers.

    What a thing is, is decided two by two pixels at a time; where it ends, by the pixels themselves.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.rough = CellNetwork(classes, width)
        self.edges = nn.Conv2d(3, width // 2, 3, padding=1)
        self.refine = nn.Conv2d(width // 2 + classes, classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-0.5, 0.5] to logits (B, classes, H, W)."""
        rough = F.interpolate(self.rough(image), scale_factor=2.0, mode="bilinear", align_corners=False)
        # A convolution of both side by side, in two parts: the gradient of a slice of channels takes a slow path.
        of_edges, of_rough = self.refine.weight.split([self.edges.out_channels, rough.shape[1]], dim=1)
        padding = self.refine.padding
        from_edges = F.conv2d(self.edges(image).relu_(), of_edges, padding=padding)
        return rough + from_edges + F.conv2d(rough, of_rough, self.refine.bias, padding=padding)


def mask_moments(logits: Tensor) -> Tensor:
    """Moments of every class but the background.

    Args:
        logits: (B, 1 + S, h, w) class logits.

    Returns:
        (B, S, 8): centroid u, v in [-1, 1] (right, down), log of the mass in pixels, variances of u and v, their
        covariance, and real and
        imaginary part of E[w^4] / E[|w|^2]^2 with w = (u - E u) + i (v - E v): a square looks the same to all lower
        orders however it is
        turned; this one turns by four times its angle.
    """
    _, _, height, width = logits.shape
    p = (logits.softmax(dim=1)[:, 1:] - _DOUBT).clamp_min(0.0) / (1.0 - _DOUBT)
    u = torch.linspace(-1.0, 1.0, width, device=logits.device)
    v = torch.linspace(-1.0, 1.0, height, device=logits.device)
    over_u, over_v = p.sum(dim=2), p.sum(dim=3)  # (B, S, w), (B, S, h)
    mass = over_u.sum(dim=2)
    weight = 1.0 / (mass + _MASS_FLOOR)
    mean_u = (over_u * u).sum(2) * weight
    mean_v = (over_v * v).sum(2) * weight
    du, dv = u - mean_u[..., None], v - mean_v[..., None]
    var_u = (over_u * du.square()).sum(2) * weight
    var_v = (over_v * dv.square()).sum(2) * weight
    cov = ((p * dv[..., None]).sum(2) * du).sum(2) * weight
    x, y = du[:, :, None, :], dv[:, :, :, None]
    xx, yy, xy = x.square(), y.square(), x * y
    # Without the share, the ratio of a slot that is hardly there would be noise.
    share = (mass * weight).square()
    scale = share * weight / ((p * (xx + yy)).sum((2, 3)) * weight).clamp_min(1e-4).square()
    real = (p * ((xx - yy).square() - 4 * xy.square())).sum((2, 3)) * scale
    imaginary = (p * (4 * xy * (xx - yy))).sum((2, 3)) * scale
    second = [10 * var_u, 10 * var_v, 10 * cov]
    return torch.stack([mean_u, mean_v, (mass + 1.0).log(), *second, real, imaginary], dim=-1)


def glimpses(image: Tensor, centre: Tensor, size_px: int, samples: int) -> Tensor:
    """Sample a patch around every point, bilinear and zero-padded, so that it moves smoothly with the point.

    Args:
        image: (B, 3, H, W).
        centre: (B, G, 2) points u, v in [-1, 1].
        size_px: Side of the patch in image pixels.
        samples: P, samples along a side.

    Returns:
        (B, G, 3, P, P).
    """
    batch, count, _ = centre.shape
    _, channels, height, width = image.shape
    offset = torch.linspace(-0.5, 0.5, samples, device=image.device, dtype=image.dtype) * (size_px - 1)
    u = centre[..., 0, None] + offset * (2.0 / (width - 1))  # (B, G, P)
    v = centre[..., 1, None] + offset * (2.0 / (height - 1))
    # The G patches of one image are stacked into one tall sampling grid: one call, no copy of the image per point.
    grid_u = u[:, :, None, :].expand(batch, count, samples, samples)
    grid_v = v[:, :, :, None].expand(batch, count, samples, samples)
    grid = torch.stack([grid_u, grid_v], dim=-1).reshape(batch, count * samples, samples, 2)
    patches = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return patches.reshape(batch, channels, count, samples, samples).permute(0, 2, 1, 3, 4)


def to_network_range(image: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 to (..., 3, H, W) float32 in [-0.5, 0.5]."""
    return image.movedim(-1, -3).float() / 255.0 - 0.5


def glimpse_values(kept: Tensor) -> Tensor:
    """Glimpses as they are kept, uint8, to float32 in [-0.5, 0.5]; in place, since each pass takes a loader's time."""
    return kept.float().div_(255.0).sub_(0.5)


class ImagePerception(nn.Module):
    """One segmenter per camera; moments of all slots of all cameras.

    There is nothing to glimpse: a policy that sees patches of the image, too, learns its demonstrations by heart in
    them (decision 19).

    Args:
        cameras: Number of cameras.
        slots: Slots per camera (objects and fingers).
        config: Sizes.

    Attributes:
        moment_floor: Moments that vary less than this are not amplified when they are standardised; what the wrist
            camera sees of the fingers hardly varies but for the shape of the hand behind them.
    """

    moment_floor = 0.1
    scales = (0.04, 0.2)  # two pixels of 96, and ten

    def __init__(self, cameras: int, slots: int, config: PerceptionConfig) -> None:
        super().__init__()
        self.slots = slots
        self.glimpse_count = 0
        self.glimpse_samples = config.glimpse_samples
        segmenters = nn.ModuleList(Segmenter(1 + slots, config.segmenter_width) for _ in range(cameras))
        self.segmenters = segmenters.to(memory_format=torch.channels_last)  # two to three times faster on CPUs

    @property
    def moment_size(self) -> int:
        """Length of the moment vector of one observation."""
        return len(self.segmenters) * self.slots * MOMENTS_PER_SLOT

    @property
    def views(self) -> Views:
        """Per camera its slots: u and v, and the fourth-order pair."""
        starts = range(0, self.moment_size, MOMENTS_PER_SLOT)
        things = [Thing((start, start + 1), (start + 6, start + 7)) for start in starts]
        return split_views(things, self.slots)

    def forward(self, *images: Tensor) -> tuple[Tensor, Tensor]:
        """Perceive one observation per batch row.

        Args:
            images: One (B, H, W, 3) uint8 tensor per camera, in the order of the spec.

        Returns:
            Moments (B, C * S * 8) float32 and no glimpses: (B, 0, 3, P, P).
        """
        pairs = zip(self.segmenters, images, strict=True)
        moments = [mask_moments(segmenter(to_network_range(x)).float()).flatten(1) for segmenter, x in pairs]
        return torch.cat(moments, dim=1), _no_glimpses(moments[0], self.glimpse_samples)


class ScenePerception(nn.Module):
    """The fast lane: the privileged scene vector stands in for the moments; there is nothing to glimpse."""

    moment_floor = 1e-3
    scales = (0.01, 0.05)  # m

    def __init__(self, components: Sequence[str], config: PerceptionConfig) -> None:
        super().__init__()
        self.moment_size = len(components)
        self.views = _scene_views(components)
        self.glimpse_count = 0
        self.glimpse_samples = config.glimpse_samples

    def forward(self, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Map scene vectors (B, M) float32 to themselves and to an empty (B, 0, 3, P, P) glimpse tensor."""
        return scene, _no_glimpses(scene, self.glimpse_samples)


def _no_glimpses(moments: Tensor, samples: int) -> Tensor:
    return moments.new_zeros(moments.shape[0], 0, 3, samples, samples)


def split_views(things: Sequence[Thing], size: int) -> Views:
    """Things of all views, `size` of each."""
    return tuple(tuple(things[start : start + size]) for start in range(0, len(things), size))


def _scene_views(components: Sequence[str]) -> Views:
    """Everything that a scene vector tells the position of, in one view."""
    column = {name: i for i, name in enumerate(components)}
    things = []
    for name in (name.removesuffix(".x") for name in components if name.endswith(".x")):
        position = tuple(column[f"{name}.{axis}"] for axis in "xyz" if f"{name}.{axis}" in column)
        thing = Thing(position)
        for yaw, folds in (("yaw", 1), ("4yaw", 4)):
            if f"{name}.cos_{yaw}" in column:
                thing = Thing(position, (column[f"{name}.cos_{yaw}"], column[f"{name}.sin_{yaw}"]), folds)
        things.append(thing)
    return (tuple(things),)


class Relations(nn.Module):
    """Where things are from each other and how they are turned, pair by pair of a view: tanh(difference / scale) of the
    positions, near and far, and cosine and sine of four times the angle between them, after which a square looks the
    same.

    A tool that is to close on a cube ends within millimetres and a few degrees of it: small differences of large
    numbers, and a product of fourth powers, which a perceptron learns slowly. Here they are inputs.

    Args:
        views: The things.
        scales: Distances that are near, and far.
    """

    first: Tensor
    second: Tensor
    turns: Tensor
    single: Tensor

    def __init__(self, views: Views, scales: Sequence[float]) -> None:
        super().__init__()
        pairs = [pair for view in views for pair in itertools.combinations(view, 2)]
        turned = [(a, b) for a, b in pairs if a.turn is not None and b.turn is not None]
        # What stands fast has no height in a scene vector: the coordinates that both have are compared.
        axes = [axis for a, b in pairs for axis in zip(a.position, b.position, strict=False)]
        for side, name in enumerate(("first", "second")):
            columns = [axis[side] for axis in axes]
            self.register_buffer(name, torch.tensor(columns, dtype=torch.long), persistent=False)
        turns = torch.tensor([[thing.turn for thing in pair] for pair in turned], dtype=torch.long)
        single = torch.tensor([[thing.folds == 1 for thing in pair] for pair in turned], dtype=torch.bool)
        self.register_buffer("turns", turns.reshape(-1, 2, 2), persistent=False)
        self.register_buffer("single", single.reshape(-1, 2), persistent=False)
        self.scales = tuple(scales)
        self.size = len(self.scales) * len(self.first) + 2 * len(turned)

    def forward(self, moments: Tensor) -> Tensor:
        """Map moments (B, M) to (B, size): all differences at the first scale, at the second, cosines, sines."""
        way = moments[:, self.first] - moments[:, self.second]
        turn = moments[:, self.turns]  # (B, pairs, 2 things, cosine and sine)
        once = turn.unbind(-1)
        four_times = _double(*_double(*once))
        cosine, sine = (torch.where(self.single, x, y) for x, y in zip(four_times, once, strict=True))
        (cos_a, cos_b), (sin_a, sin_b) = cosine.unbind(-1), sine.unbind(-1)
        between = [cos_a * cos_b + sin_a * sin_b, sin_a * cos_b - cos_a * sin_b]
        return torch.cat([*(torch.tanh(way / scale) for scale in self.scales), *between], dim=1)


def _double(cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of twice the angle."""
    return cosine.square() - sine.square(), 2.0 * cosine * sine


def make_features(perception: Perception, relations: bool) -> FeatureNet:
    """An untrained feature net for what a perception sees, with or without relations."""
    between = Relations(perception.views, perception.scales) if relations else None
    return FeatureNet(perception.moment_size, perception.glimpse_count, perception.glimpse_samples, between)


class FeatureNet(nn.Module):
    """What is perceived to one feature vector: standardised moments next to a code of every glimpse.

    Glimpses are centred on their keypoints, so a small perceptron reads them as well as convolutions do, at a tenth of
    the cost. Each keypoint of each camera has a perceptron of its own: each sits on something else.

    Args:
        moment_size: M.
        glimpse_count: G, glimpses per observation (zero but for keypoints).
        samples: P, samples along a side of a glimpse.
        relations: What stands beside the moments of where things are from each other; None for nothing.
        hidden: Hidden size of a glimpse's perceptron.
        code_size: Length of the code of one glimpse.
    """

    def __init__(
        self,
        moment_size: int,
        glimpse_count: int,
        samples: int,
        relations: Relations | None = None,
        hidden: int = 64,
        code_size: int = 16,
    ) -> None:
        super().__init__()
        self.standardize = Standardizer(moment_size)
        self.relations = relations
        self.glimpse_count = glimpse_count
        self.size = moment_size + glimpse_count * code_size + (0 if relations is None else relations.size)
        if glimpse_count:
            pixels = 3 * samples * samples
            self.lift = nn.Parameter(torch.randn(glimpse_count, pixels, hidden) * (pixels / 4) ** -0.5)
            self.bias = nn.Parameter(torch.zeros(glimpse_count, hidden))
            self.code = nn.Parameter(torch.randn(glimpse_count, hidden, code_size) * hidden**-0.5)
            self.code_norm = nn.LayerNorm(code_size)

    def forward(self, moments: Tensor, patches: Tensor) -> Tensor:
        """Map moments (B, M) and glimpses (B, G, 3, P, P) to features (B, size)."""
        features = [self.standardize(moments)]
        if self.relations is not None:
            features.append(self.relations(moments))
        if self.glimpse_count:
            hidden = F.silu(torch.einsum("bgi,gio->bgo", patches.flatten(2), self.lift) + self.bias)
            codes = self.code_norm(torch.einsum("bgi,gio->bgo", hidden, self.code))
            features.append(codes.flatten(1))
        return torch.cat(features, dim=1)
