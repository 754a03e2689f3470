"""A copy of a network that follows it slowly and is never trained: targets that do not run away."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


class Follower(nn.Module):
    """An exponential moving average of a network's weights, kept as buffers.

    Args:
        network: What is followed.
        rate: Share of the way that the copy goes in a step.
    """

    def __init__(self, network: nn.Module, rate: float) -> None:
        super().__init__()
        self.rate = rate
        for name, weight in network.named_parameters():
            self.register_buffer(_flat(name), weight.detach().clone())

    def step(self, network: nn.Module) -> dict[str, Tensor]:
        """Go a little way towards the network's present weights: the copy's weights, by the network's names."""
        weights = {}
        for name, weight in network.named_parameters():
            buffer = getattr(self, _flat(name))
            buffer.mul_(1.0 - self.rate).add_(self.rate * weight.detach())
            weights[name] = buffer.clone()  # the next step must not reach into this one's graph
        return weights

    def forward(self, network: nn.Module, *inputs: Any) -> Any:
        """Step, then what the copy makes of the inputs, without a gradient."""
        return functional_call(network, self.step(network), inputs).detach()


def _flat(name: str) -> str:
    return name.replace(".", "_")
