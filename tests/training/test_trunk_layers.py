"""Every layer in front of what is trained, and the places of rows in a trunk."""
import copy

import numpy as np
import pytest
from cases import PUBLIC, example

from ldl_cy import Sequential, layers
from ldl_cy.network import Network
from ldl_cy.training.trunk import count_frozen, in_places, take_rows


def frozen(layer):
    layer = copy.copy(layer)
    layer.trainable = False
    return layer


@pytest.mark.parametrize("name", PUBLIC)
def test_every_layer_in_front_computes_in_training_what_it_does_in_inference(name):
    case = example(name)
    X = np.random.default_rng(0).standard_normal((40, *case.input_shape))
    if case.data is not None:
        X = case.data(np.random.default_rng(0), 40).reshape(X.shape)
    rest = [layers.Flatten(name="flat"), layers.Dense(2, name="last")]
    # one whose weights are frozen comes first: what is before the first frozen weight is not worth a trunk
    reads_input = Network.build([case.layer], case.input_shape, "float64", 1).graph.input_checks
    first = [] if reads_input else [layers.PReLU(name="first", trainable=False)]
    model = Sequential([*first, frozen(case.layer), *rest], "float64", 1).build(case.input_shape)
    gradients = [model.loss_and_grad(X, np.zeros((40, 2)), loss="squared_error", training=training)
                 for training in (True, False)]
    same = gradients[0][0] == gradients[1][0] and np.array_equal(gradients[0][1], gradients[1][1])
    in_front = count_frozen(model.network) > len(first)
    assert same or not in_front
    assert in_front or not same or name == "Custom"


def test_rows_have_the_places_of_their_numbers():
    rng = np.random.default_rng(0)
    for n, n_rows in ((1, 1), (50, 16), (7, 64), (300, 48), (100, 1)):
        for index in (rng.permutation(1000)[:n], np.arange(n), rng.permutation(n) * n_rows):
            filled, slots = in_places(index, n_rows)
            assert len(filled) % n_rows == 0 and np.array_equal(filled[slots], index)
            assert np.array_equal(slots % n_rows, index % n_rows) and len(np.unique(slots)) == n
            assert np.isin(filled, index).all()
    assert len(in_places(np.arange(300, 700), 20)[0]) == 400


def test_rows_are_taken_from_sparse_matrices():
    import scipy.sparse

    from ldl_cy.checks import check_rows

    matrix = scipy.sparse.random(30, 7, 0.3, "csr", random_state=0)
    rows = check_rows("test", "X", matrix, (7,), "float64")
    index = np.random.default_rng(0).integers(0, 30, 50)
    np.testing.assert_array_equal(np.asarray(take_rows(rows, index)), matrix.toarray()[index])
    np.testing.assert_array_equal(np.asarray(take_rows(rows[5:20], index % 15)), matrix.toarray()[5:20][index % 15])
