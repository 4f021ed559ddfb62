"""Layers: settings that build into kernels. They speak Keras's vocabulary."""
from ldl_cy.layers.activation import Activation
from ldl_cy.layers.base import Layer
from ldl_cy.layers.conv import Conv1D, Conv2D
from ldl_cy.layers.dense import Dense
from ldl_cy.layers.recurrent import GRU, LSTM, RNN, SimpleRNN

__all__ = ["GRU", "LSTM", "RNN", "Activation", "Conv1D", "Conv2D", "Dense", "Layer", "SimpleRNN"]
