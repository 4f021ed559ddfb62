"""Values and weights on PyTorch's side: axes in another order, weights that are not the initial ones."""
from __future__ import annotations

import numpy as np
import torch


def bits(model):
    """Of the weights and running statistics."""
    return model.theta.tobytes(), model.network.statistics.tobytes()


def there(X, order):
    """X as a module reads it whose axes are ours in this order."""
    return torch.tensor(np.ascontiguousarray(X.transpose(0, *(axis + 1 for axis in order))))


def first(rank):
    """The order of axes of channels-first maps."""
    return rank - 1, *range(rank - 1)


def random_state(module, seed=0):
    """Weights and statistics that are not the initial ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.2
                             if tensor.ndim < 2 else
                             torch.randn(tensor.shape, generator=generator, dtype=torch.float64) / 2)
    return module.eval()
