"""Every test of the vector kernels runs on each instruction set there is, in both dtypes."""
import numpy as np
import pytest
from vectors import DTYPES


@pytest.fixture(autouse=True)
def on_each_instruction_set(isa):
    pass


@pytest.fixture(params=DTYPES, ids=lambda t: t.__name__)
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(0)
