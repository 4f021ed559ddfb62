"""Parts of docstrings that estimators share."""
from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import TypeVar

from ldl_cy.layers.activation import ACTIVATIONS
from ldl_cy.optimizers import OPTIMIZERS

T = TypeVar("T", bound=type)

# parts of the parts below, which estimators without solver="ridge" do not have
OF_RIDGE = {
    "solver": """\
    'ridge' leaves the hidden layers as they were drawn, or given, and computes the output layer alone: the weights w
    and intercepts b that minimise Σ s ‖y − h w − b‖² + `alpha` ‖w‖² for the outputs h of the last hidden layer and
    weights s of the samples, as `Ridge` does. The default `alpha` is small for that: choose it, or pass `alphas`. Rows
    are read in blocks, with memory for the square of the number of features: by the normal equations if their condition
    number is at most 1e8 and there are twice as many rows as features and targets; else by QR decompositions of the
    blocks. `partial_fit` adds rows to those of the calls before, and fits to all of them. Early stopping only holds out
    the rows that are scored. Hidden layers give what they give in predictions, without dropout.
    By 'lm' and 'ridge' classifiers are fitted to codes, 1 for the class of a row and -1 for others, by squared errors
    as `RidgeClassifier` is: they have `decision_function` and no `predict_proba`.
""",
    "alphas": """
alphas : array-like of floats > 0, default=None
    With solver='ridge' the values from which `alpha` is chosen, by the mean squared error of leaving out each row in
    turn, which is exact and takes no further fits, as in `RidgeCV`: `alpha_` is the choice. Not for `partial_fit`.
""",
    "attributes": """\
alpha_, best_score_ : float
    With solver='ridge' the strength of the penalty; with `alphas` minus its mean squared leave-one-out error.

""",
}

TRAINING = """
solver : str or an optimizer of ``ldl_cy.optimizers``, default='adam'
    %(minibatch_solvers)s use minibatches;
    'lbfgs' (quasi-Newton), 'cg' (scaled conjugate gradients), 'gauss_newton_cg', 'lm' (Levenberg-Marquardt: squared
    errors of small networks) and 'gd' (gradient descent) use the full batch. Settings that are not
    parameters of the estimator are the optimizer's defaults: 'adamw' has a weight decay of 0.01, 'rmsprop' no
    momentum. An optimizer object has its own learning rate and other settings.
""" + OF_RIDGE["solver"] + """
alpha : float >= 0, default=0.0001
    Strength of the L2 penalty on the weights (not on biases), divided by the number of samples of a
    batch, or by the sum of their weights.

batch_size : int >= 1, default='auto'
    Rows of a minibatch; 'auto' is min(%(largest_batch)s, n_samples). Ignored by full-batch solvers.

learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
    For 'sgd': constant, divided by ``t_ ** power_t``, or divided by 5 whenever training stalls.

learning_rate_init : float > 0, default=0.001
    The initial learning rate of the minibatch solvers and of 'gd'; for 'adadelta' 1 is recommended,
    for 'lion' 1e-4.

power_t : float >= 0, default=0.5
    Exponent of 'invscaling'.

max_iter : int >= 1, default=200
    Maximum number of epochs, or of iterations of full-batch solvers. A fit that makes them all warns that it has not
    converged (`ConvergenceWarning`), unless its learning rate is a schedule that is over by then, such as
    ``solver=optimizers.SGD(schedules.Cosine(0.1))``, which is as long as the fit.

shuffle : bool, default=True
    Whether to shuffle the rows in each epoch.

random_state : int, RandomState instance, default=None
    Determines initial weights, shuffling, dropout, and the rows that early stopping holds out.

tol : float >= 0, default=1e-4
    An epoch counts as an improvement if the loss decreases, or the score increases, by at least this much: the loss of
    the training rows or, with early stopping, the score or the loss of the validation rows. With 0 too a fit ends after
    `n_iter_no_change` epochs in which the loss does not decrease.
    For 'lbfgs', 'cg', 'gauss_newton_cg' and 'lm' the bound on the largest absolute entry of the gradient.

verbose : bool or int, default=False
    %(verbose)s

warm_start : bool, default=False
    Whether `fit` continues from the last one: its weights, optimizer state, learning rate and random numbers.

momentum : float in [0, 1], default=0.9
    Momentum of 'sgd'.

nesterovs_momentum : bool, default=True
    Whether to use Nesterov's momentum.

early_stopping : bool or 'loss', default=False
    Whether to hold out rows, to stop when their score or, with 'loss', their loss no longer improves, and to restore
    the best weights.

validation_fraction : float in [0, 1), default=0.1
    Share of the rows that early stopping holds out.

beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
    Decay rates of the running moments of %(beta_solvers)s; for 'lion' a beta_2
    of 0.99 is recommended.

epsilon : float > 0, default=1e-8
    Prevents division by zero in 'adam' and in all solvers that scale steps by past gradients. The first steps of
    'adadelta' are proportional to its square root: 1e-6 is recommended there.

n_iter_no_change : int >= 1 or infinity, default=10
    Epochs without improvement after which training stops; with ``np.inf`` it lasts `max_iter` epochs.

max_fun : int >= 1, default=15000
    Maximum number of evaluations of the loss by 'lbfgs'.
"""

VERBOSE_LINES = "Whether to print the loss of each epoch."
VERBOSE_BAR = "Whether to show a progress bar with the loss."

COMMON = OF_RIDGE["alphas"] + """
callbacks : list of callbacks of ``ldl_cy.callbacks`` or functions ``f(model, logs)``, default=None
    Called after each epoch, or iteration of a full-batch solver, with `model_` and the values "loss" and, with
    validation rows, "val_loss" and "val_score"; a callback that returns True ends the fit.

dtype : {'float32', 'float64'}, default=None
    The dtype of all computation; None is float32 for float32 input, except in MLPs also for uint8, and float64 for any
    other.

n_threads : int >= 1, default=None
    Maximum number of threads; None uses all that are available. Results do not depend on it.
"""

DROPOUT = """
dropout : float in [0, 1), default=0.0
    Share of the inputs of fully connected layers that is set to zero in training; the network's own input is not
    affected.
"""

CLASS_WEIGHT = """
class_weight : dict, list of dicts or 'balanced', default=None
    Weights of the classes, multiplied by `sample_weight`; with 'balanced' they are inversely
    proportional to the class frequencies.
"""

LOSS = """
loss : {'squared_error', 'absolute_error', 'huber', 'quantile', 'poisson'}, default='squared_error'
    'squared_error' is half the squared error, 'huber' has delta=1, 'quantile' is half the absolute error, and
    'poisson' is half the Poisson deviance with a logarithmic link.
"""

INPUT_SHAPE = """
input_shape : tuple of ints, default=None
    Shape of a sample, without the batch axis; None reads %(none_reads)s.
    Arrays of three or four axes are not reshaped, but for a last axis of one channel.
"""

INPUT_FORMAT = """
input_format : {'channels_last', 'channels_first'}, default='channels_last'
    Order of the axes of X: 'channels_last' is (n_samples, time, channels), 'channels_first' is
    (n_samples, channels, time), as libraries for time series have it, and for images
    (n_samples, channels, height, width). Flat rows have the same numbers in the same order; without `input_shape` they
    have one channel. The network always has its channels last, and so has `input_shape`: (time, channels).
"""

CATEGORICAL_FEATURES = """
categorical_features : 'from_dtype', or array-like of bool, int or str, default=None
    Which features are categories: a mask, places or names of columns; 'from_dtype' are all whose dtype says so, or that
    hold text, in frames of pandas and polars, arrays of objects and lists. Instead of a feature with k categories the
    network reads a vector of min(50, (k + 1) // 2) numbers for each of them, behind the other features, which is
    trained with it (see `layers.CategoryEmbedding`, `embedding_of`). The categories are those of the first fit, and
    those that a dtype of pandas or polars lists; `partial_fit` and warm starts add none. Missing values (None, NaN, NA)
    are a category where the first fit has any. A category that is not known, or that no row of training had, is the
    mean of the vectors, weighted by how often their categories occurred there, with the weights of rows.
    With solver='ridge' the vectors stay as they are drawn, with orthonormal columns.
"""

CACHE_FEATURES = """
cache_features : bool or 'auto', default='auto'
    Whether the outputs of frozen layers at the beginning of the network are computed once for a fit, or in each epoch
    for some batches at a time. Results are the same to the bit. 'auto' keeps them if they take at most half of the
    memory that is available.
"""

RESERVOIR = """
spectral_radius : float > 0, default=None
    With cell='rnn' the absolute value of the eigenvalues of the initial recurrent weights, an orthogonal matrix times
    this number; None is 1. With solver='ridge' they stay so: an echo-state network, whose states forget the distant
    past if it is below 1.

leak : float in (0, 1], default=1.0
    With cell='rnn' the share of the new value in each state: about 1/leak steps are remembered. See ``layers.RNN``.
"""

ATTRIBUTES = """
model_ : Sequential
    The fitted network; its last layer has raw outputs.

n_features_in_ : int
    Number of features seen in `fit`, X.shape[1].

feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the features, if X has names.

n_outputs_, n_layers_ : int
    Number of outputs; number of layers with weights, plus one for the input.

out_activation_ : str
    The activation that predictions apply to the raw outputs.

n_iter_, t_ : int
    Number of epochs of the last fit; number of samples seen so far.

loss_ : float
    The loss of the last epoch.

best_loss_ : float or None
    The smallest loss; None with early stopping.

loss_curve_ : list of float
    The loss of each epoch.

validation_loss_curve_ : list of float or None
    The loss of the validation rows after each epoch, without the penalty; None without validation rows.

validation_scores_ : list of float or None
    %(score)s of the validation rows after each epoch; None without validation rows.

best_validation_score_ : float or None
    The best validation score. With early_stopping='loss' the weights may be those of another epoch.

""" + OF_RIDGE["attributes"] + """stop_reason_ : str
    Why the last fit ended: 'no_improvement' (by `tol` and `n_iter_no_change`), 'epochs' (`max_iter` of them),
    'converged' or 'stalled' (full-batch solvers; they stall where no step lowers the loss), 'callback', 'interrupted'
    (by Ctrl-C), 'non_finite', or 'error' (an exception, e.g. of a callback, after an epoch).
"""

CATEGORY_ENCODER = """
category_encoder_ : object
    Only with columns of categories: its `columns` has a record of each, with `place`, `name`, `labels` (the categories,
    None for missing values) and `counts` (the summed weights of the training rows of each category).
"""

CLASSES = """
classes_ : ndarray of shape (n_classes,)
    The class labels.

multilabel_ : bool
    Whether y had several labels for each sample.
"""


def listed(names: Iterable[str], last: str) -> str:
    """'a', 'b' and 'c', with ``last`` before the last name, wrapped to the width of docstrings."""
    *front, end = map(repr, names)
    return textwrap.fill(f"{', '.join(front)} {last} {end}", 96, subsequent_indent="    ")


# names in the tables of activations and optimizers
NAMES = {
    "activations": listed([name for name in ACTIVATIONS if name != "softmax"], "or"),
    "beta_solvers": listed([name for name, kind in OPTIMIZERS.items()
                            if "beta_1" in inspect.signature(kind).parameters], "and"),
    "minibatch_solvers": listed([name for name, kind in OPTIMIZERS.items() if not kind.full_batch], "and"),
}


def share(*, ridge: bool = True, **values: str) -> Callable[[T], T]:
    """Class decorator: fill the shared parts into a docstring with ``%(training)s``, ``%(common)s``...

    Without ``ridge`` what is said of that solver is left out.
    """
    parts = {
        "training": TRAINING, "common": COMMON, "dropout": DROPOUT, "class_weight": CLASS_WEIGHT,
        "loss": LOSS, "input_shape": INPUT_SHAPE, "attributes": ATTRIBUTES, "classes": CLASSES,
        "input_format": INPUT_FORMAT, "categorical_features": CATEGORICAL_FEATURES, "cache_features": CACHE_FEATURES,
        "reservoir": RESERVOIR, "category_encoder": CATEGORY_ENCODER}
    values = {**values, **NAMES}

    def fill(cls: T) -> T:
        if cls.__doc__ is None:     # python -OO
            return cls
        text = inspect.cleandoc(cls.__doc__)    # as Python 3.13 does by itself
        for name, part in parts.items():
            for left_out in () if ridge else OF_RIDGE.values():
                part = part.replace(left_out, "")
            text = text.replace(f"%({name})s", part.strip("\n"))
        for name, value in values.items():
            # written where a class's docstring is indented by four
            text = text.replace(f"%({name})s", textwrap.dedent("    " + value))
        cls.__doc__ = text
        return cls

    return fill
