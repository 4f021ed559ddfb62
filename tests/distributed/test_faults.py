"""Faults on one process of several: all end with its error, soon, and their models are whole."""
import pytest
from mpi_job import run_job
from rank_faults import BAD, EPOCHS, FAULTS, SIGNALS

SIZES = (2, 3)


@pytest.fixture(scope="module", params=SIZES)
def filed(request, tmp_path_factory):
    """What each rank has found of all faults, one after another: a fit that hangs fails all of them."""
    return run_job("faults", request.param, tmp_path_factory.mktemp("faults")).found


def answers(filed, name):
    return [rank[name] for rank in filed]


@pytest.mark.parametrize("name", FAULTS)
def test_all_ranks_raise_the_error(filed, name):
    fault = FAULTS[name]
    for rank, answer in enumerate(answers(filed, name)):
        if name == "an error that cannot be sent" and rank == BAD:
            assert (answer["error"], answer["text"]) == ("Unusual", "with a lock")
            continue
        assert answer["error"] == fault.error, answer
        assert answer["text"].startswith(fault.text), answer


@pytest.mark.parametrize("name", ["NaN in X", "a callback", "a wrong argument", "a loss in Python", "step rule 0.05"])
def test_other_ranks_say_where_it_was(filed, name):
    for rank, answer in enumerate(answers(filed, name)):
        assert answer["notes"] == ([] if rank == BAD else [f"This was raised on rank {BAD}."])


@pytest.mark.parametrize("name", FAULTS)
def test_the_models_are_whole(filed, name):
    """They are as after the last complete epoch, and a further fit ends as one without a fault."""
    fault, (first, *others) = FAULTS[name], answers(filed, name)
    if name.startswith("weights of one rank"):
        # what the callback has done to one of them cannot be undone, but the next fit begins with rank 0's
        ended = [answer.get("continued", first["after"]) for answer in (first, *others)]
        assert ended == [filed[0]["epochs"][EPOCHS]] * len(ended)
        return
    assert first["after"]["epoch"] == fault.epoch
    if fault.layers is None:
        expected = filed[0]["epochs"]
        # a fit that begins makes room for the optimizer's vectors, whose numbers are zeros until its first step
        compared = expected[fault.epoch].keys() - ({"slots"} if fault.epoch == 0 else set())
        for answer in (first, *others):
            assert {key: answer["after"][key] for key in compared} == {
                key: expected[fault.epoch][key] for key in compared}
            assert answer["after"] == first["after"]
        assert all(answer.get("continued", answer["after"]) == expected[EPOCHS] for answer in (first, *others))


def test_a_loss_in_python_raises_in_the_middle_of_an_epoch(filed):
    for answer in answers(filed, "a loss in Python"):
        assert (answer["error"], answer["text"]) == ("ZeroDivisionError", "in a loss")
        assert answer["after"]["epoch"] == 3 and answer["continued"] == answer["undisturbed"]


@pytest.mark.parametrize("name", [f"{kind} {delay}" for kind, delays in SIGNALS.items() for delay in delays])
def test_a_signal_to_one_rank(filed, name):
    """SIGINT: KeyboardInterrupt on all ranks, whose models have the same number of whole epochs."""
    first, *others = answers(filed, name)
    assert first["error"] == "KeyboardInterrupt" and all(other["after"] == first["after"] for other in others)
    assert first["after"] == first["undisturbed"] and first["after"]["epoch"] >= 2
