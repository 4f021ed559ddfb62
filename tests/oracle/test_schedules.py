"""Schedules beside those of ``torch.optim.lr_scheduler``."""
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'oracle' brings PyTorch, with which these tests compare")

import torch
from torch.optim import lr_scheduler

from ldl_cy.schedules import Constant, Cosine, Exponential, InverseScaling, Linear, OneCycle, Step, Warmup

LENGTH = 40


def warm(optimizer, length, after):
    """A line up, then another scheduler."""
    first = lr_scheduler.LinearLR(optimizer, 1 / (length + 1), total_iters=length)
    return lr_scheduler.SequentialLR(optimizer, [first, after(optimizer)], [length])


def cycle(optimizer, peak_at, strategy):
    """OneCycleLR ends with step total_steps − 1, and its peak is at step pct_start · total_steps − 1."""
    return lr_scheduler.OneCycleLR(
        optimizer, 0.3, total_steps=LENGTH + 1, pct_start=(peak_at * LENGTH + 1) / (LENGTH + 1),
        anneal_strategy=strategy, div_factor=25, final_div_factor=400, cycle_momentum=False)


# a schedule, torch's, and how many positions both have
CASES = {
    "constant": (Constant(0.3), lambda o: lr_scheduler.ConstantLR(o, 1.0), 60),
    "step": (Step(0.3, 0.5, 7), lambda o: lr_scheduler.StepLR(o, 7, 0.5), 60),
    "milestones": (Step(0.3, 0.1, [4, 20, 21]), lambda o: lr_scheduler.MultiStepLR(o, [4, 20, 21], 0.1), 60),
    "exponential": (Exponential(0.3, 0.93), lambda o: lr_scheduler.ExponentialLR(o, 0.93), 60),
    "inverse scaling": (
        InverseScaling(0.3, 0.6, 0.2), lambda o: lr_scheduler.LambdaLR(o, lambda t: (1 + 0.2 * t) ** -0.6), 60),
    "linear": (Linear(0.3, LENGTH, 0.03), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, LENGTH), 60),
    "linear to 0": (Linear(0.3, LENGTH), lambda o: lr_scheduler.PolynomialLR(o, LENGTH, 1.0), 60),
    "cosine": (Cosine(0.3, LENGTH, 0.01), lambda o: lr_scheduler.CosineAnnealingLR(o, LENGTH, 0.01), LENGTH + 1),
    "one cycle": (OneCycle(0.3, LENGTH), lambda o: cycle(o, 0.3, "cos"), LENGTH + 1),
    "one cycle, linear": (OneCycle(0.3, LENGTH, peak_at=0.45, phases="linear"), lambda o: cycle(o, 0.45, "linear"),
                          LENGTH + 1),
    "warmup": (Warmup(0.3, 5), lambda o: lr_scheduler.LinearLR(o, 1 / 6, total_iters=5), 60),
    "warmup of a cosine": (
        Warmup(Cosine(0.3, LENGTH), 6), lambda o: warm(o, 6, lambda o: lr_scheduler.CosineAnnealingLR(o, LENGTH)),
        LENGTH + 7),
}


@pytest.mark.filterwarnings("ignore:.*epoch parameter.*:UserWarning")
@pytest.mark.parametrize(("schedule", "make", "count"), CASES.values(), ids=CASES)
def test_rates_are_torchs(schedule, make, count):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = make(optimizer)
    expected = []
    for _ in range(count):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
        if len(expected) == count - 1 and isinstance(scheduler, lr_scheduler.OneCycleLR):
            expected.append(optimizer.param_groups[0]["lr"])        # it refuses a step past its end
            break
    # most of torch's are recurrences, whose rounding adds up
    np.testing.assert_allclose(schedule(np.arange(count)), expected, rtol=1e-10, atol=1e-15)
