"""Keypoints: what plain GLAM sees in images, without any mask.

A small network per camera turns an image into K maps; the centre of each map's softmax is a keypoint. Nobody says what
a keypoint should be. Three things teach it, on all images of all sources:

    L = || D(p) - I ||^2
        + w || f(p, z) - n(p''_{t+k} - p''_t) ||^2                      z = h(p, n(p_{t+k} - p_t))
        + w' sum_s ( |m_s - m|^2 / u + |v_s - v|^2 / u^2 )              u = v + 0.05^2

The first draws the image I, at low resolution, from blobs at the keypoints p over a background of few components: what
moves between images or within them can only be drawn by a keypoint that is there. The second is GLAM's forward model:
the changes of the keypoints have to be predictable from a small latent. Its targets p'' are those of a copy that
follows the network slowly, without a gradient, and n divides changes by their running standard deviation; absolute
targets would leave z unused.

The third, which is ours, makes a keypoint mean the same in every source: m_s and v_s are means and variances of the
keypoints in source s, m and v the means of these over sources, and the term is a mean over keypoints' parts. Without it
some keypoints follow an arm that other sources do not have, and tell nothing of the tool there. It asks that sources
show one task from like starts. Batches are too small to tell means, so m_s and v_s are running ones, and u is held
fixed: what is minimised has half of the gradient that the term would have if the batch's were these.

Departure from the published description, which trains everything jointly: afterwards the keypoints are frozen, computed
once, and GLAM's stage 1 proper runs on them.

Symbols: B batch, C cameras, K keypoints per camera, P samples along a side of a glimpse, S sources.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glam_training.models.blocks import MLP
from glam_training.models.follow import Follower
from glam_training.models.perception import (
    CellNetwork,
    ImagePerception,
    PerceptionConfig,
    Thing,
    Views,
    glimpses,
    split_views,
    to_network_range,
)

PARTS = 3  # u, v, spread
FORWARD_WEIGHT = 0.05
"""w."""
AGREEMENT_WEIGHT = 0.05
"""w'."""
_AGREEMENT_RATE = 0.02
"""Of the running means and variances."""
_AGREEMENT_FLOOR = 0.05
"""In half image widths: differences far below this do not count."""
_FOLLOW = 0.02
_SHARPNESS = 3.0
"""Of the softmax: untrained maps are nearly flat, and their centres would hardly move."""
_LATENT = 16
_BLOB = 0.12
"""Standard deviation of a drawn blob, in half image widths."""
_CANVAS = 32
"""Side of the drawn image."""
_BACKGROUNDS = 6
"""Components of the background, beside their mean."""
_COLOURS = 8
"""Channels of a blob before they are turned into colours."""
_CHANGE_RATE = 0.01


def keypoints_of(logits: Tensor) -> Tensor:
    """Centre u, v (right, down, in [-1, 1]) and spread of each map's softmax: (B, K, h, w) to (B, K, 3)."""
    _, _, height, width = logits.shape
    p = (_SHARPNESS * logits.flatten(2)).softmax(-1).unflatten(-1, (height, width))
    u = torch.linspace(-1.0, 1.0, width, device=logits.device)
    v = torch.linspace(-1.0, 1.0, height, device=logits.device)
    over_u, over_v = p.sum(2), p.sum(3)
    mean_u, mean_v = (over_u * u).sum(-1), (over_v * v).sum(-1)
    var = (over_u * (u - mean_u[..., None]).square()).sum(-1) + (over_v * (v - mean_v[..., None]).square()).sum(-1)
    return torch.stack([mean_u, mean_v, (var + 1e-6).sqrt()], -1)


class KeypointPerception(nn.Module):
    """Keypoints of all cameras, and glimpses around them; the same interface as `ImagePerception`.

    Args:
        cameras: Number of cameras.
        config: Sizes.
    """

    moment_floor = 0.02
    scales = ImagePerception.scales

    def __init__(self, cameras: int, config: PerceptionConfig) -> None:
        super().__init__()
        self.count = config.keypoints
        self.glimpse_px = config.glimpse_px
        self.glimpse_samples = config.glimpse_samples // 2  # there are many, and they are kept in memory
        maps = nn.ModuleList(CellNetwork(config.keypoints, config.segmenter_width) for _ in range(cameras))
        self.maps = maps.to(memory_format=torch.channels_last)

    @property
    def moment_size(self) -> int:
        """Length of the vector of one observation."""
        return len(self.maps) * self.count * PARTS

    @property
    def glimpse_count(self) -> int:
        """Glimpses of one observation."""
        return len(self.maps) * self.count

    @property
    def views(self) -> Views:
        """Per camera its keypoints: u and v."""
        return split_views([Thing((start, start + 1)) for start in range(0, self.moment_size, PARTS)], self.count)

    def forward(self, *images: Tensor) -> tuple[Tensor, Tensor]:
        """Perceive one observation per batch row.

        Args:
            images: One (B, H, W, 3) uint8 tensor per camera, in the order of the spec.

        Returns:
            Keypoints (B, C * K * 3) float32 and glimpses (B, C * K, 3, P, P) float32 in [-0.5, 0.5].
        """
        points, patches = [], []
        for maps, image in zip(self.maps, images, strict=True):
            x = to_network_range(image)
            found = keypoints_of(maps(x).float())
            patches.append(glimpses(x, found[..., :2], self.glimpse_px, self.glimpse_samples))
            points.append(found.flatten(1))
        return torch.cat(points, dim=1), torch.cat(patches, dim=1)


class Painter(nn.Module):
    """D: draws an image (B, 3, 32, 32) from keypoints, over a background of few components."""

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.colours = nn.Parameter(0.3 * torch.randn(keypoints, _COLOURS))
        self.backgrounds = nn.Parameter(0.01 * torch.randn(1 + _BACKGROUNDS, 3 * _CANVAS * _CANVAS))
        self.mixture = nn.Sequential(nn.Linear(3 * 16, 32), nn.SiLU(), nn.Linear(32, _BACKGROUNDS))
        self.brush = nn.Sequential(nn.Conv2d(_COLOURS + 3, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 3, 3, padding=1))

    def forward(self, points: Tensor, canvas: Tensor) -> Tensor:
        """Keypoints (B, K, 3), and the image (B, 3, 32, 32) of which only a 4 x 4 thumbnail chooses the background."""
        thumbnail = F.avg_pool2d(canvas, _CANVAS // 4).flatten(1)
        background = self.backgrounds[0] + self.mixture(thumbnail) @ self.backgrounds[1:]
        background = background.unflatten(1, (3, _CANVAS, _CANVAS))
        grid = torch.linspace(-1.0, 1.0, _CANVAS, device=points.device)
        over_u = (-0.5 * ((grid - points[..., 0, None]) / _BLOB).square()).exp()
        over_v = (-0.5 * ((grid - points[..., 1, None]) / _BLOB).square()).exp()
        blobs = torch.einsum("bkv,bku,kc->bcvu", over_v, over_u, self.colours)
        return background + self.brush(torch.cat([blobs, background], 1))


class KeypointObjective(nn.Module):
    """The loss above, for all cameras at once.

    Args:
        perception: What is trained.
        sources: S; a batch holds as many images of each, one source after the other.
    """

    def __init__(self, perception: KeypointPerception, sources: int) -> None:
        super().__init__()
        self.perception = perception
        self.sources = sources
        size, count = perception.moment_size, perception.count
        self.painters = nn.ModuleList(Painter(count) for _ in perception.maps)
        self.followers = nn.ModuleList(Follower(maps, _FOLLOW) for maps in perception.maps)
        self.idm = MLP(2 * size, _LATENT, 128, 1)
        self.forward_model = MLP(size + _LATENT, size, 128, 1)
        self.register_buffer("scale", torch.full((size,), 0.1))
        self.agreement = Agreement(sources, size)

    def forward(self, batch: tuple[tuple[Tensor, Tensor], ...], progress: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of per camera (images now, images k steps later), each (B, 3, H, W) in [-0.5, 0.5]."""
        now, later, wanted_now, wanted_later, drawn = [], [], [], [], []
        for maps, painter, follower, (image, next_image) in zip(
            self.perception.maps, self.painters, self.followers, batch, strict=True
        ):
            both = torch.cat([image, next_image]).contiguous(memory_format=torch.channels_last)
            points = keypoints_of(maps(both).float())
            canvas = F.interpolate(both, size=(_CANVAS, _CANVAS), mode="area")
            drawn.append((_salience(canvas) * (painter(points, canvas) - canvas).square().mean(1)).mean())
            first, second = points.flatten(1).chunk(2)
            now.append(first)
            later.append(second)
            first, second = keypoints_of(follower(maps, both).float()).flatten(1).chunk(2)
            wanted_now.append(first)
            wanted_later.append(second)
        p, p_next, target, target_next = (torch.cat(x, 1) for x in (now, later, wanted_now, wanted_later))
        change = target_next - target
        self.scale.mul_(1.0 - _CHANGE_RATE).add_(_CHANGE_RATE * change.std(0))
        scale = self.scale.clone().clamp_min(2e-3)
        z = self.idm(torch.cat([p, ((p_next - p) / scale).clamp(-5.0, 5.0)], 1))
        forward = (self.forward_model(torch.cat([p, z], 1)) - (change / scale).clamp(-5.0, 5.0)).square().mean()
        reconstruction = torch.stack(drawn).sum()
        by_source = torch.cat([x.unflatten(0, (self.sources, -1)) for x in (p, p_next)], 1)
        agreement, apart = self.agreement(by_source)
        loss = reconstruction + FORWARD_WEIGHT * forward + AGREEMENT_WEIGHT * agreement
        return loss, {"loss": loss, "drawn": reconstruction, "forward": forward, "apart": apart}


class Agreement(nn.Module):
    """The third term: running means and variances of S sources' keypoints, and what brings them together.

    Args:
        sources: S.
        size: M, length of the vector of keypoints.
    """

    def __init__(self, sources: int, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(sources, size))
        self.register_buffer("variance", torch.full((sources, size), 0.1))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Take a step of the running means and variances.

        Args:
            points: (S, B, M) keypoints of B images of each source, in half image widths.

        Returns:
            A scalar that has half of the term's gradient, and the part of the term that is about means, a scalar.
        """
        mean = points.mean(1)
        variance = (points - self.mean[:, None]).square().mean(1)
        for running, now in ((self.mean, mean), (self.variance, variance)):
            running.mul_(1.0 - _AGREEMENT_RATE).add_(_AGREEMENT_RATE * now.detach())
        unit = self.variance.mean(0) + _AGREEMENT_FLOOR**2
        away = (self.mean - self.mean.mean(0)) / unit
        wider = (self.variance - self.variance.mean(0)) / unit.square()
        return (away * mean + wider * variance).sum(0).mean(), (away.square() * unit).sum(0).mean()


def _salience(canvas: Tensor) -> Tensor:
    """Where images (B, 3, h, w) differ from the batch's mean image: (B, h, w) weights. Small things that are elsewhere
    in every image weigh as much as the whole background."""
    unusual = (canvas - canvas.mean(0)).square().mean(1)
    return 0.1 + (unusual / (unusual.mean() + 1e-6)).clamp(max=20.0)
