"""Every test of the vector kernels runs on each instruction set there is, in both dtypes."""
import numpy as np
import pytest
import vec_kernels as vec
from vectors import DTYPES


@pytest.fixture(params=vec.instruction_sets(), autouse=True)
def isa(request):
    before = vec.instruction_set()
    vec.use_instruction_set(request.param)
    yield request.param
    vec.use_instruction_set(before)


@pytest.fixture(params=DTYPES, ids=lambda t: t.__name__)
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(0)
