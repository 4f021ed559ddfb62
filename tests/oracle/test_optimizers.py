"""Ten training steps of the library against those of PyTorch's optimizers, on the same networks in float64."""
from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the extra 'oracle' brings PyTorch, with which these tests compare")

import torch
from oracle import twin
from oracle.problems import compare, make_batch, make_model

from ldl_cy import layers as L
from ldl_cy.optimizers import GD, OPTIMIZERS, SGD, Adadelta, Adagrad, Adam, AdamW, Nadam, RMSprop, StepRule

STACKS = {
    "dense": ((5,), [L.Dense(8, "tanh"), L.Dense(6, "silu"), L.Dense(3)]),
    "conv2d": ((6, 6, 2), [L.Conv2D(4, 3, activation="tanh"), L.AvgPool2D(2), L.Flatten(), L.Dense(3)]),
    "lstm": ((7, 3), [L.LSTM(5), L.Dense(3)]),
    "gru": ((7, 3), [L.Conv1D(4, 2, activation="elu"), L.GRU(5), L.Dense(3)]),
}
DECAY = 0.3                     # PyTorch's weight_decay where ours has alpha, or weight_decay of its own


def groups(two, one, decay=DECAY):
    """Tensors of two axes or more, which decay, and the others."""
    return [{"params": two, "weight_decay": decay}, {"params": one, "weight_decay": 0.0}]


# Ours, and PyTorch's on these two lists of tensors.
T = torch.optim
CASES = {
    "gd": (GD(0.05, tol=0), lambda two, one: T.SGD([*two, *one], 0.05)),
    "sgd": (SGD(0.05), lambda two, one: T.SGD([*two, *one], 0.05)),
    "momentum": (SGD(0.05, 0.9), lambda two, one: T.SGD([*two, *one], 0.05, momentum=0.9)),
    "nesterov": (SGD(0.05, 0.9, True), lambda two, one: T.SGD([*two, *one], 0.05, momentum=0.9, nesterov=True)),
    "momentum_alpha": (SGD(0.05, 0.9), lambda two, one: T.SGD(groups(two, one), 0.05, momentum=0.9)),
    "clip": (SGD(0.05, 0.9, clip_norm=0.2), lambda two, one: T.SGD([*two, *one], 0.05, momentum=0.9)),
    "adam": (Adam(), lambda two, one: T.Adam([*two, *one])),
    "adam_betas": (Adam(0.02, 0.8, 0.95, 1e-4), lambda two, one: T.Adam([*two, *one], 0.02, (0.8, 0.95), 1e-4)),
    "adam_decay": (Adam(0.01, weight_decay=DECAY), lambda two, one: T.AdamW(groups(two, one), 0.01)),
    "adam_alpha": (Adam(0.01), lambda two, one: T.Adam(groups(two, one), 0.01)),
    "adamw": (AdamW(), lambda two, one: T.AdamW([{"params": two}, {"params": one, "weight_decay": 0.0}])),
    "adamw_decay": (AdamW(0.02, 0.8, 0.95, 1e-4, weight_decay=DECAY),
                    lambda two, one: T.AdamW(groups(two, one), 0.02, (0.8, 0.95), 1e-4)),
    "nadam": (Nadam(), lambda two, one: T.NAdam([*two, *one])),
    "nadam_betas": (Nadam(0.02, 0.8, 0.95, 1e-4, 0.5),
                    lambda two, one: T.NAdam([*two, *one], 0.02, (0.8, 0.95), 1e-4, momentum_decay=0.5)),
    "nadam_decay": (Nadam(0.01, weight_decay=DECAY),
                    lambda two, one: T.NAdam(groups(two, one), 0.01, decoupled_weight_decay=True)),
    "nadam_alpha": (Nadam(0.01), lambda two, one: T.NAdam(groups(two, one), 0.01)),
    "rmsprop": (RMSprop(), lambda two, one: T.RMSprop([*two, *one])),
    "rmsprop_momentum": (RMSprop(0.005, 0.9, 1e-4, 0.8),
                         lambda two, one: T.RMSprop([*two, *one], 0.005, 0.9, 1e-4, momentum=0.8)),
    "rmsprop_centered": (RMSprop(0.005, centered=True),
                         lambda two, one: T.RMSprop([*two, *one], 0.005, centered=True)),
    "rmsprop_both_alpha": (RMSprop(0.005, 0.95, momentum=0.8, centered=True),
                           lambda two, one: T.RMSprop(groups(two, one), 0.005, 0.95, momentum=0.8, centered=True)),
    "adagrad": (Adagrad(), lambda two, one: T.Adagrad([*two, *one])),
    "adagrad_rates_alpha": (Adagrad(0.05, 0.1, 0.2, 1e-4), lambda two, one: T.Adagrad(
        groups(two, one), 0.05, lr_decay=0.1, initial_accumulator_value=0.2, eps=1e-4)),
    "adadelta": (Adadelta(), lambda two, one: T.Adadelta([*two, *one])),
    "adadelta_rho_alpha": (Adadelta(0.5, 0.8, 1e-4), lambda two, one: T.Adadelta(groups(two, one), 0.5, 0.8, 1e-4)),
}


@pytest.fixture(autouse=True)
def double():
    """NAdam keeps its product of momenta in PyTorch's default dtype, whatever that of the weights."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if issubclass(kind, StepRule)])
def test_every_rule_that_they_have_is_compared(name):
    kind = OPTIMIZERS[name]
    if kind.__name__.lower() not in map(str.lower, vars(T)) and kind is not GD:
        # nothing to compare with; a later version may have it, and then a case is required
        pytest.skip(f"PyTorch {torch.__version__} has no {kind.__name__}")
    assert any(type(ours) is kind for ours, _ in CASES.values()), f"{name} is not in CASES"


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("name", CASES)
def test_ten_steps(tally, name, stack):
    shape, stack = STACKS[stack]
    problem = {"shape": shape, "stack": stack, "loss": "codes", "k": 3, "n": 12, "weighted": False, "seed": 5}
    model = make_model(problem, "float64")
    X, y, _ = make_batch(problem, model.output_shape)
    ours, theirs = CASES[name]
    p = twin.tensors(model.parameters)
    optimizer = theirs([t for t in p.values() if t.ndim >= 2], [t for t in p.values() if t.ndim < 2])
    # alpha is L2 divided by the number of rows, which is what weight_decay is there but for AdamW
    alpha = DECAY * len(X) if name.endswith("alpha") else 0.0
    tally.networks["trained"] += 1
    for _ in range(10):
        optimizer.zero_grad()
        twin.loss("log_loss", twin.forward(stack, p, torch.tensor(X)), torch.tensor(y)).backward()
        if name == "clip":
            # by hand: torch.nn.utils.clip_grad_norm_ adds 1e-6 to the norm
            norm = torch.sqrt(sum((t.grad**2).sum() for t in p.values()))
            for t in p.values():
                t.grad *= min(1.0, 0.2 / float(norm))
        optimizer.step()
        model.fit(
            X, y, loss="log_loss", optimizer=ours, batch_size="full", epochs=1, alpha=alpha, shuffle=False)
        for key, values in model.parameters.items():
            compare(tally, "float64 weights in training", values, p[key].detach(), 1e-9)
