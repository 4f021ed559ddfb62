"""A residual CNN with BatchNorm, trained in torch on Fashion-MNIST and loaded here: all test outputs compared.

    python ci/measure_torch.py DATA [--images 20000] [--epochs 1]

DATA has fashion_mnist/, see ci/datasets.py. The network is an ordinary class of torch with a forward; ``load_torch``
puts its state dict into the same layers here, ``to_torch`` makes a module of those again.

Without torch or the data it is left out with a message.
The exit code is 1 where an output differs by more than 2e-5 (float32) or 1e-9 (float64) of the largest, or a label.
"""
import argparse
import sys
import time
from pathlib import Path

import numpy as np
from datasets import DEFAULT, fashion

from ldl_cy import Sequential, layers
from ldl_cy.interop import from_torch, load_torch, to_torch

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    sys.exit(print("left out: torch is not installed"))

WIDTHS = (8, 16, 32)
TOL = {"float32": 2e-5, "float64": 1e-9}


class Block(nn.Module):
    """Two convolutions with a shortcut, which is a convolution where the shape changes."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A stem, three blocks and a Linear layer over flattened maps."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layers = nn.Sequential(*(Block(n_in, n_out, 1 + (i > 0)) for i, (n_in, n_out) in enumerate(
            zip((WIDTHS[0], *WIDTHS), WIDTHS))))
        self.fc1 = nn.Linear(7 * 7 * WIDTHS[-1], 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = torch.flatten(self.layers(x), 1)
        return self.fc2(F.relu(self.fc1(x)))


def same_layers():
    """The same network in layers of ldl_cy."""
    def conv(n, size, stride):
        return [layers.Conv2D(n, size, stride, 1 if size == 3 else 0, use_bias=False), layers.BatchNorm()]

    stack, n_in = [*conv(WIDTHS[0], 3, 1), layers.Activation("relu")], WIDTHS[0]
    for i, n in enumerate(WIDTHS):
        stride = 1 + (i > 0)
        shortcut = conv(n, 1, stride) if stride != 1 or n_in != n else []
        stack += [layers.Add([*conv(n, 3, stride), layers.Activation("relu"), *conv(n, 3, 1)], shortcut),
                  layers.Activation("relu")]
        n_in = n
    return [*stack, layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10)]


def trained(X, y, epochs):
    """The network of torch after some epochs of Adam."""
    torch.manual_seed(0)
    net = ResNet()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for epoch in range(epochs):
        start, losses = time.perf_counter(), []
        for rows in torch.randperm(len(X)).split(128):
            loss = F.cross_entropy(net(X[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        seconds = time.perf_counter() - start
        print(f"torch, epoch {epoch + 1}: loss {np.mean(losses):.3f} in {seconds:.0f} s", flush=True)
    return net.eval()


def compare(what, out, expected, y):
    """Print the largest difference, relative to the largest output, and both accuracies; whether they agree."""
    error = np.abs(out - expected).max() / np.abs(expected).max()
    labels, theirs = out.argmax(1), expected.argmax(1)
    print(f"{what}: largest difference {error:.1e} of the largest output {np.abs(expected).max():.2f}; "
          f"equal labels {(labels == theirs).sum()} of {len(y)}; "
          f"accuracy {(labels == y).mean():.4f}, torch {(theirs == y).mean():.4f}", flush=True)
    return error <= TOL[out.dtype.name] and (labels == theirs).all()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=1)
    options = parser.parse_args()
    try:
        X, y, X_test, y_test = fashion(options.data)
    except FileNotFoundError as error:
        print(f"left out: {error}")
        return 0
    X, X_test = (images.reshape(-1, 28, 28, 1) for images in (X, X_test))
    there = torch.tensor(X_test.transpose(0, 3, 1, 2).copy())
    net = trained(torch.tensor(X[:options.images].transpose(0, 3, 1, 2).copy()),
                  torch.tensor(y[:options.images].astype(np.int64)), options.epochs)
    good = []
    for dtype in TOL:
        net.to(getattr(torch, dtype))
        model = Sequential(same_layers(), dtype).build((28, 28, 1))
        load_torch(model, net.state_dict())
        with torch.no_grad():
            expected = torch.cat([net(part) for part in there.to(getattr(torch, dtype)).split(500)]).numpy()
        start = time.perf_counter()
        out = model.predict(X_test.astype(dtype))
        print(f"{dtype}: {model.n_parameters} weights, predict {time.perf_counter() - start:.1f} s")
        good.append(compare(f"{dtype} load_torch", out, expected, y_test))
        module = to_torch(model)
        with torch.no_grad():
            again = torch.cat([module(part) for part in there.to(getattr(torch, dtype)).split(500)]).numpy()
        good.append(compare(f"{dtype} to_torch", again, expected, y_test))
        good.append(from_torch(module, model.input_shape).theta.tobytes() == model.theta.tobytes())
        print(f"{dtype} from_torch(to_torch(model)): the same bits of theta: {good[-1]}")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
