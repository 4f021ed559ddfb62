"""RNN, LSTM and GRU as loops over rows and steps, straight from their definition."""
import numpy as np
from references import activate
from scipy.special import expit


def rnn_step(p, x, h, c, f):
    return f(x @ p["kernel"] + h @ p["recurrent_kernel"] + p.get("bias", 0)), c


def lstm_step(p, x, h, c, f):
    i, forget, g, o = np.split(x @ p["kernel"] + h @ p["recurrent_kernel"] + p.get("bias", 0), 4)
    c = expit(forget) * c + expit(i) * np.tanh(g)
    return expit(o) * np.tanh(c), c


def gru_step(p, x, h, c, f):
    xr, xz, xn = np.split(x @ p["kernel"] + p.get("bias", 0), 3)
    hr, hz, hn = np.split(h @ p["recurrent_kernel"], 3)
    r, z = expit(xr + hr), expit(xz + hz)
    return (1 - z) * np.tanh(xn + r * (hn + p.get("recurrent_bias", 0))) + z * h, c


STEPS = {"RNN": rnn_step, "LSTM": lstm_step, "GRU": gru_step}


def recurrence(layer, p, x, lengths=None):
    """The outputs of a layer with parameters p, row by row, each over its own steps only."""
    step, name = STEPS[type(layer).__name__], getattr(layer, "activation", None) or "identity"
    leak = getattr(layer, "leak", 1.0)
    n, n_steps, u = len(x), x.shape[1], layer.units
    states = np.zeros((n, n_steps, u))
    last = np.zeros((n, u))
    for i in range(n):
        own = x[i, :n_steps if lengths is None else lengths[i]]
        h = c = np.zeros(u)
        for t, x_t in enumerate(own[::-1] if layer.go_backwards else own):
            after, c = step(p, x_t, h, c, lambda z: activate(name, z))
            h = (1 - leak) * h + leak * after
            states[i, t] = h
        last[i] = h
    return states if layer.return_sequences else last
