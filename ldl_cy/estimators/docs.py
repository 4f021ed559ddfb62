"""Parts of docstrings that the estimators share."""
from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import TypeVar

from ldl_cy.layers.activation import ACTIVATIONS
from ldl_cy.optimizers import OPTIMIZERS

T = TypeVar("T", bound=type)

TRAINING = """
solver : str or an optimizer of ``ldl_cy.optimizers``, default='adam'
    %(minibatch_solvers)s work on minibatches;
    'lbfgs' (quasi-Newton), 'cg' (scaled conjugate gradients), 'gauss_newton_cg', 'lm' (Levenberg-Marquardt, for
    squared errors of small networks) and 'gd' (gradient descent) on all rows at once. What has no parameter
    here stays as the optimizer has it: 'adamw' decays weights by 0.01, 'rmsprop' has no momentum. An object
    brings its own step size and other numbers.

alpha : float >= 0, default=0.0001
    Strength of the L2 penalty on the weights (not on biases), divided by the number of samples of a
    batch, or by the sum of their weights.

batch_size : int >= 1, default='auto'
    Rows of a minibatch; 'auto' is min(%(largest_batch)s, n_samples). Unused by full-batch solvers.

learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
    With 'sgd': constant, divided by ``t_ ** power_t``, or divided by 5 whenever training stalls.

learning_rate_init : float > 0, default=0.001
    The first step size of the solvers on minibatches and of 'gd'; 'adadelta' is meant for 1.

power_t : float >= 0, default=0.5
    Exponent of 'invscaling'.

max_iter : int >= 1, default=200
    Most epochs, or iterations of the solvers on all rows.

shuffle : bool, default=True
    Whether every epoch takes the rows in a new order.

random_state : int, RandomState instance, default=None
    Determines initial weights, the order of rows, dropout, and what early stopping holds out.

tol : float >= 0, default=1e-4
    An epoch counts as progress where the loss falls, or the score rises, by at least this much.
    For 'lbfgs', 'cg', 'gauss_newton_cg' and 'lm' the bound on the largest entry of the gradient.

verbose : bool or int, default=False
    %(verbose)s

warm_start : bool, default=False
    Whether `fit` goes on from where the last one ended: its weights, optimizer state, step size and random numbers.

momentum : float in [0, 1], default=0.9
    Momentum of 'sgd'.

nesterovs_momentum : bool, default=True
    Whether that momentum is Nesterov's.

early_stopping : bool, default=False
    Whether to hold out rows, to stop when their score no longer rises, and to keep the best weights.

validation_fraction : float in [0, 1), default=0.1
    Share of the rows that early stopping holds out.

beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
    Decay of the running moments of 'adam', 'adamw' and 'nadam'.

epsilon : float > 0, default=1e-8
    The guard against division by zero of 'adam' and all solvers that scale steps by past gradients; the
    first steps of 'adadelta' are of the size of its root, which 1e-6 suits.

n_iter_no_change : int >= 1 or infinity, default=10
    Epochs without progress after which training stops.

max_fun : int >= 1, default=15000
    Most evaluations of the loss by 'lbfgs'.
"""

VERBOSE_LINES = "Whether to print the loss of every epoch."
VERBOSE_BAR = "Whether to draw a progress bar with the loss beside it."

COMMON = """
callbacks : list of callbacks of ``ldl_cy.callbacks`` or functions ``f(model, logs)``, default=None
    Called after every epoch, or iteration of 'lbfgs', with `model_` and "loss" and, with validation rows,
    "val_score"; one that returns True ends the fit.

dtype : {'float32', 'float64'}, default=None
    What to compute in; None keeps float32 input and computes everything else in float64.

n_threads : int >= 1, default=None
    Most threads; None takes what the machine offers. Results do not depend on it.
"""

DROPOUT = """
dropout : float in [0, 1), default=0.0
    Share of the inputs of fully connected layers that is set to zero in training; what the network
    itself reads stays whole.
"""

CLASS_WEIGHT = """
class_weight : dict, list of dicts or 'balanced', default=None
    Weights of the classes, multiplied with `sample_weight`; 'balanced' makes them inversely
    proportional to the classes' counts.
"""

LOSS = """
loss : {'squared_error', 'absolute_error', 'huber', 'quantile', 'poisson'}, default='squared_error'
    Half the squared error; the absolute error; Huber's with delta=1; 'quantile' is half the absolute error;
    half the Poisson deviance with a logarithmic link.
"""

INPUT_SHAPE = """
input_shape : tuple of ints, default=None
    How to read a row, without the batch axis; None reads %(none_reads)s.
    Arrays of three or four axes are taken as they are.
"""

ATTRIBUTES = """
model_ : Sequential
    The fitted network; its last layer gives raw outputs.

n_features_in_ : int
    X.shape[1] of the fit.

feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the features, where X has such.

n_outputs_, n_layers_ : int
    Outputs of the network; its layers with weights, plus one for the input.

out_activation_ : str
    What predictions apply to the raw outputs.

n_iter_, t_ : int
    Epochs of the last fit; samples seen so far.

loss_ : float
    The loss of the last epoch.

best_loss_ : float or None
    The smallest loss; None with early stopping.

loss_curve_ : list of float
    The loss of every epoch.

validation_scores_ : list of float or None
    Accuracy or R² on the validation rows after every epoch, where there are such rows.

best_validation_score_ : float or None
    The best of them.
"""

CLASSES = """
classes_ : ndarray of shape (n_classes,)
    The class labels.
"""


def listed(names: Iterable[str], last: str) -> str:
    """'a', 'b' and 'c', in lines as long as a docstring's."""
    *front, end = map(repr, names)
    return textwrap.fill(f"{', '.join(front)} {last} {end}", 96, subsequent_indent="    ")


# What the tables of activations and optimizers have.
NAMES = {
    "activations": listed([name for name in ACTIVATIONS if name != "softmax"], "or"),
    "minibatch_solvers": listed([name for name, kind in OPTIMIZERS.items() if not kind.full_batch], "and"),
}


def share(**values: str) -> Callable[[T], T]:
    """Class decorator: put the shared parts where a docstring says ``%(training)s``, ``%(common)s``..."""
    parts = {
        "training": TRAINING, "common": COMMON, "dropout": DROPOUT, "class_weight": CLASS_WEIGHT,
        "loss": LOSS, "input_shape": INPUT_SHAPE, "attributes": ATTRIBUTES, "classes": CLASSES}
    values = {**values, **NAMES}

    def fill(cls: T) -> T:
        if cls.__doc__ is None:     # python -OO
            return cls
        text = inspect.cleandoc(cls.__doc__)    # as Python 3.13 does by itself
        for name, part in parts.items():
            text = text.replace(f"%({name})s", part.strip("\n"))
        for name, value in values.items():
            # written where a class's docstring is indented by four
            text = text.replace(f"%({name})s", textwrap.dedent("    " + value))
        cls.__doc__ = text
        return cls

    return fill
