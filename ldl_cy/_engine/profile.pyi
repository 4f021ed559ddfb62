from numpy import ndarray

from ldl_cy._engine.loss import LossKernel
from ldl_cy._engine.op import Kernel

def time_op(
    kernel: Kernel, theta: ndarray, state: ndarray, x: ndarray, dy: ndarray, *, wants_dx: bool, wants_grad: bool,
    repeats: int,
) -> ndarray: ...
def time_loss(kernel: LossKernel, y: ndarray, targets: ndarray, repeats: int) -> ndarray: ...
def time_update(
    rule: int, n_slots: int, theta: ndarray, lanes: int, coef: ndarray, repeats: int,
) -> ndarray: ...
