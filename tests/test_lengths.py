"""Sequences of several lengths: padding has no influence on outputs, gradients, loss or weights."""
import numpy as np
import pytest

from ldl_cy import Sequential, layers, losses

T, LENGTHS = 7, np.array([7, 1, 4, 6, 2, 7, 3])


def stacks():
    return {
        "lstm": [layers.LSTM(5), layers.Dense(3)],
        "gru backwards": [layers.GRU(4, go_backwards=True), layers.Dense(3)],
        "stacked": [layers.RNN(4, return_sequences=True), layers.LSTM(4), layers.Dense(3)],
        "dense first": [layers.Dense(4, "relu"), layers.Dropout(0.3), layers.GRU(5), layers.Dense(3)],
        "convolution": [layers.Conv1D(4, 3, padding="same", activation="gelu"), layers.Conv1D(4, 3, padding="causal"),
                        layers.GRU(4), layers.Dense(3)],
        "one side": [layers.Conv1D(4, 3, padding=(0, 2), activation="tanh"), layers.MaxPool1D(2, 1, (0, 1)),
                     layers.AvgPool1D(3, 1, (2, 0)), layers.ZeroPadding1D(0), layers.GRU(4), layers.Dense(3)],
        "pooled": [layers.Conv1D(4, 3, padding="same"), layers.GlobalMaxPool1D(), layers.Dense(3)],
        "mean": [layers.Dense(4, "tanh"), layers.GlobalAvgPool1D(), layers.Dense(3)],
        "sequence to sequence": [layers.GRU(4, return_sequences=True), layers.Dense(4, "tanh"), layers.Dense(3)],
        "both directions": [layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
                            layers.Bidirectional(layers.GRU(2), merge_mode="sum"), layers.Dense(3)],
        "residual": [layers.Dense(4), layers.Add([], [layers.Conv1D(4, 3, padding="same", activation="tanh")]),
                     layers.Concatenate([], [layers.GRU(2, return_sequences=True)]), layers.Dense(3)],
        "both directions, sequences": [layers.Bidirectional(layers.GRU(3, return_sequences=True), "sum")],
        "branches": [layers.Dense(4, "tanh"), layers.Add([layers.GRU(4, return_sequences=True)], []),
                     layers.Concatenate([layers.Conv1D(2, 3, padding="same")], layers.Dense(2), []),
                     layers.Concatenate(layers.LSTM(2), layers.GlobalMaxPool1D()), layers.Dense(3)],
        "branches, sequences": [layers.Add(layers.Dense(3), [layers.GRU(3, return_sequences=True)])],
        "gates": [layers.Multiply(layers.Dense(4, "tanh"), layers.Dense(1, "logistic")), layers.GlobalAvgPool1D(),
                  layers.Dense(3)],
        "gates of whole sequences": [
            layers.Dense(4), layers.Multiply([layers.GlobalAvgPool1D(), layers.Reshape((1, 4))], []),
            layers.Multiply([], []), layers.GRU(3)],
        "gates, sequences": [layers.Multiply(layers.Dense(3), [layers.GRU(1, return_sequences=True)])],
        "a branch of the input": [layers.Add([], []), layers.GRU(3)],
        "given numbers": [layers.Normalization((1, 2), (3, 4)), layers.Normalization(0.5, 2.0, None),
                          layers.GRU(3, return_sequences=True), layers.Normalization(-1.0, 0.5)],
        "normalized": [layers.Dense(4), layers.LayerNorm(), layers.BatchNorm(), layers.GRU(3), layers.Dense(3)],
        "slopes": [layers.Dense(4), layers.PReLU(1, "normal"), layers.LSTM(3, return_sequences=True),
                   layers.PReLU((1, 2)), layers.Dense(3)],
        "noise": [layers.GaussianNoise(0.5), layers.UpSampling1D(1), layers.GRU(4), layers.GaussianNoise(0.1),
                  layers.Dense(3)],
        "elman sequences": [layers.RNN(3, return_sequences=True)],
    }


def data(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((len(LENGTHS), T, 2))
    padded = X.copy()
    for i, n in enumerate(LENGTHS):
        padded[i, n:] = 1e3 * rng.standard_normal((T - n, 2))
    return X, padded, rng


def targets(rng, model):
    return rng.standard_normal((len(LENGTHS), *model.output_shape))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", stacks())
def test_each_sequence_stops_at_its_own_end(name, dtype):
    """Every row equals the same network run on that row alone, cut to its length."""
    X, padded, rng = data()
    model = Sequential(stacks()[name], dtype, 0).build((T, 2))
    weights = rng.uniform(0.5, 2, len(X))
    y = targets(rng, model)
    tol = 1e-11 if dtype == "float64" else 2e-5
    found = model.predict(padded, lengths=LENGTHS)
    loss, grad = model.loss_and_grad(padded, y, loss="squared_error", sample_weight=weights, lengths=LENGTHS)
    assert loss == pytest.approx(
        model.evaluate(padded, y, loss="squared_error", sample_weight=weights, lengths=LENGTHS), rel=1e-6)
    sequences = len(model.output_shape) == 2
    loss_alone, grad_alone = 0.0, np.zeros(grad.size)
    for i, n in enumerate(LENGTHS):
        alone = Sequential(stacks()[name], dtype, 0).build((int(n), 2))
        np.testing.assert_array_equal(alone.theta, model.theta)
        row = X[i:i + 1, :n]
        expected = alone.predict(row)[0]
        np.testing.assert_allclose(found[i, :n] if sequences else found[i], expected, atol=tol, rtol=tol)
        if sequences:
            assert not found[i, n:].any()
        target = y[i:i + 1, :n] if sequences else y[i:i + 1]
        value, g = alone.loss_and_grad(row, target, loss="squared_error")
        loss_alone += weights[i] / weights.sum() * value
        grad_alone += weights[i] / weights.sum() * g
    assert loss == pytest.approx(loss_alone, rel=10 * tol)
    np.testing.assert_allclose(grad, grad_alone, atol=10 * tol, rtol=0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["lstm", "convolution", "sequence to sequence", "pooled"])
def test_what_is_behind_an_end_may_be_anything(name, value, dtype):
    X, _, rng = data()
    X = X.astype(dtype)
    past = np.arange(T) >= LENGTHS[:, None]
    models = [Sequential(stacks()[name], "float64", 0).build((T, 2)) for _ in range(2)]
    y = targets(rng, models[0])
    pairs = []
    for behind in (0.0, value):
        rows, goals = X.copy(), y.copy()
        rows[past] = behind
        if goals.ndim == 3:
            goals[past] = behind
        pairs.append((rows, goals, rows.copy()))
    results = []
    for model, (rows, goals, kept) in zip(models, pairs):
        for given in (rows, rows.tolist()):
            model.fit(given, goals, loss="squared_error", lengths=LENGTHS, batch_size=3, epochs=2)
        model.fit([(rows, goals, None, LENGTHS)], loss="squared_error", epochs=1)
        validated = model.fit(rows, goals, loss="squared_error", lengths=LENGTHS, epochs=1,
                              validation_data=(rows, goals, None, LENGTHS))
        results.append((model.theta, model.predict(rows, lengths=LENGTHS), validated.history["val_loss"],
                        model.loss_and_grad(rows, goals, loss="squared_error", lengths=LENGTHS)[1]))
        np.testing.assert_array_equal(rows, kept)
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="X must be finite, got"):
        model.predict(pairs[1][0], lengths=LENGTHS + (LENGTHS < T))
    with pytest.raises(ValueError, match="X must be finite, got"):
        model.predict(pairs[1][0])
    with pytest.raises(ValueError, match="X must be finite, got"):
        model.predict(pairs[1][0], lengths=LENGTHS[:3])


@pytest.mark.parametrize("axis", [1, (1, 2)])
def test_layer_norm_over_the_steps(axis):
    """Its parameters belong to steps: a sequence alone has those of its own ones."""
    X, padded, rng = data()
    stack = [layers.Dense(3), layers.LayerNorm(axis=axis), layers.GRU(3)]
    model = Sequential(stack, "float64", 0).build((T, 2))
    for name in ("layer_norm_1.gamma", "layer_norm_1.beta"):
        model.parameters[name][...] = rng.standard_normal(model.parameters[name].shape)
    found = model.predict(padded, lengths=LENGTHS)
    for i, n in enumerate(LENGTHS):
        alone = Sequential(stack, "float64", 0).build((int(n), 2))
        for name, value in alone.parameters.items():
            value[...] = model.parameters[name][:len(value)] if "layer_norm" in name else model.parameters[name]
        np.testing.assert_allclose(found[i], alone.predict(X[i:i + 1, :n])[0], atol=1e-12)
    y = targets(rng, model)
    f = model.loss_and_grad(padded, y, loss="squared_error", lengths=LENGTHS)
    assert f[0] == model.evaluate(X, y, loss="squared_error", lengths=LENGTHS)
    np.testing.assert_array_equal(f[1], model.loss_and_grad(X, y, loss="squared_error", lengths=LENGTHS)[1])


@pytest.mark.parametrize("name", ["stacked", "convolution", "sequence to sequence", "mean", "both directions",
                                  "residual", "branches", "branches, sequences", "normalized", "slopes", "gates",
                                  "given numbers", "gates of whole sequences"])
def test_training_ignores_padding_whatever_the_threads(name):
    X, padded, rng = data()
    results = []
    for given, threads in ((X, 1), (padded, 1), (padded, 2)):
        model = Sequential(stacks()[name], "float64", 0).build((T, 2))
        y = targets(np.random.default_rng(1), model)
        model.fit(given, y, loss="squared_error", optimizer="adam", epochs=4, batch_size=3, lengths=LENGTHS,
                  n_threads=threads, validation_data=(given, y, None, LENGTHS))
        results.append(model.theta)
    for theta in results[1:]:
        np.testing.assert_array_equal(theta, results[0])


def test_full_lengths_are_no_lengths():
    X, _, rng = data()
    for stack in stacks().values():
        model = Sequential(stack, "float64", 0).build((T, 2))
        y = targets(rng, model)
        full = np.full(len(X), T)
        np.testing.assert_allclose(model.predict(X, lengths=full), model.predict(X), atol=1e-13)
        a, b = (model.loss_and_grad(X, y, loss="squared_error", lengths=n) for n in (full, None))
        assert a[0] == pytest.approx(b[0], rel=1e-12)
        np.testing.assert_allclose(a[1], b[1], atol=1e-12)


def test_class_codes_for_each_step():
    X, padded, rng = data()
    model = Sequential(stacks()["sequence to sequence"], "float64", 0).build((T, 2))
    codes = rng.integers(0, 3, (len(X), T))
    z = model.predict(padded, lengths=LENGTHS)
    logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
    expected = [-np.take_along_axis(logp[i], codes[i][:, None], -1)[:n].mean() for i, n in enumerate(LENGTHS)]
    assert model.evaluate(padded, codes, loss="log_loss", lengths=LENGTHS) == pytest.approx(np.mean(expected))


X7, _, _ = data()


@pytest.mark.parametrize(("stack", "lengths", "message"), [
    ("lstm", LENGTHS[:3], "Sequential: lengths must have the shape (7,), got (3,)."),
    ("lstm", LENGTHS + 1.0, "Sequential: lengths must be an array of ints, got dtype float64."),
    ("lstm", LENGTHS + 1, "Sequential: lengths must be in 1 .. 7, got 2 .. 8."),
    ("lstm", LENGTHS - 1, "Sequential: lengths must be in 1 .. 7, got 0 .. 6."),
    ("strided", LENGTHS, "Sequential: lengths do not fit this network: conv changes the number of steps from 7 to 3"),
    ("zeros after", LENGTHS,
     "Sequential: lengths do not fit this network: zero_padding changes the number of steps from 7 to 8, and lengths"),
    ("strided, padded", LENGTHS,
     "Sequential: lengths do not fit this network: the first axis of what conv returns is not that of the steps"),
    ("strided maxima, padded", LENGTHS,
     "Sequential: lengths do not fit this network: the first axis of what max_pool returns is not that of the steps"),
    ("transposed", LENGTHS,
     "Sequential: lengths do not fit this network: permute changes the number of steps from 7 to 2, and lengths"),
    ("transposed, square", LENGTHS,
     "Sequential: lengths do not fit this network: the first axis of what permute returns is not that of the steps"),
    ("transposed, one feature", LENGTHS,
     "Sequential: lengths do not fit this network: Permute changes the number of steps from 7 to 1, and lengths"),
    ("reshaped", LENGTHS, "Sequential: lengths do not fit this network: gru reads an axis of 2 that is no longer"),
    ("reshaped, pooled", LENGTHS, "Sequential: lengths do not fit this network: mean_pool reads an axis of 4"),
])
def test_bad_lengths(stack, lengths, message):
    chosen = {**stacks(), "strided": [layers.Conv1D(3, 3, strides=2), layers.GRU(3), layers.Dense(3)],
              "zeros after": [layers.ZeroPadding1D((0, 1)), layers.GRU(3), layers.Dense(3)],
              "strided, padded": [layers.Conv1D(3, 3, 2, (4, 5)), layers.GRU(3), layers.Dense(3)],
              "strided maxima, padded": [layers.MaxPool1D(14, 2, (10, 9)), layers.GRU(3), layers.Dense(3)],
              "transposed": [layers.Permute((2, 1)), layers.GRU(3), layers.Dense(3)],
              "transposed, square": [layers.Dense(7), layers.Permute((2, 1)), layers.GRU(3), layers.Dense(3)],
              "transposed, one feature": [layers.Dense(1), layers.Permute((2, 1)), layers.Flatten(), layers.Dense(3)],
              "reshaped": [layers.Reshape((2, 7)), layers.GRU(3)],
              "reshaped, pooled": [layers.Dense(4), layers.Reshape((4, 7)), layers.GlobalAvgPool1D(), layers.Dense(3)],
              }[stack]
    model = Sequential(chosen, random_state=0).build((T, 2))
    y = np.zeros((7, 3))
    for call in (lambda: model.predict(X7, lengths=lengths),
                 lambda: model.evaluate(X7, y, loss="squared_error", lengths=lengths),
                 lambda: model.fit(X7, y, loss="squared_error", lengths=lengths)):
        with pytest.raises((TypeError, ValueError)) as error:
            call()
        assert str(error.value).startswith(message)
    assert model.epoch == 0


@pytest.mark.parametrize("shape", [(3, 2), (1, 2)], ids=["moved", "one shape of the same numbers"])
def test_axes_moved_behind_the_steps(shape):
    """Each row as alone, zeros past its end: the first axis is still that of the steps."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((len(LENGTHS), T, *shape))
    stack = [layers.Permute((1, 3, 2)), layers.Conv2D(2, (3, 2), padding=((1, 1), (0, 1)), activation="tanh")]
    model = Sequential(stack, "float64", 0).build((T, *shape))
    found = model.predict(X, lengths=LENGTHS)
    for i, n in enumerate(LENGTHS):
        alone = Sequential(stack, "float64", 0).build((int(n), *shape)).predict(X[i:i + 1, :n])
        np.testing.assert_allclose(found[i, :n], alone[0], rtol=0, atol=1e-13)
        assert not found[i, n:].any()


def test_custom_losses_of_sequences_take_no_lengths():
    model = Sequential(stacks()["elman sequences"]).build((T, 2))
    y = np.zeros((7, T, 3))
    squares = losses.Custom(lambda p, y: (((p - y) ** 2).sum((1, 2)), 2 * (p - y)))
    with pytest.raises(ValueError, match="Custom sees whole sequences"):
        model.evaluate(X7, y, loss=squares, lengths=LENGTHS)
    with pytest.raises(ValueError, match="Custom sees whole sequences"):
        model.fit(X7, y, loss=squares, lengths=LENGTHS)


def test_lengths_need_a_time_axis():
    model = Sequential([layers.Dense(2)]).build(3)
    with pytest.raises(ValueError, match="lengths need sequences"):
        model.predict(np.zeros((2, 3)), lengths=[1, 2])
