"""``isa``: a test that asks for it runs on each instruction set of this machine, and gets its name."""
import pytest


def pytest_generate_tests(metafunc):
    if "isa" in metafunc.fixturenames:
        # not at the top: the conftest.py of the root first looks whether the library is up to date
        from ldl_cy._engine import vec

        metafunc.parametrize("isa", vec.instruction_sets(), indirect=True)


@pytest.fixture
def isa(request):
    from ldl_cy._engine import vec

    before = vec.instruction_set()
    vec.use_instruction_set(request.param)
    yield request.param
    vec.use_instruction_set(before)
