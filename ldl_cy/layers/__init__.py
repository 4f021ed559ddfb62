"""Layers: settings and shapes, from which kernels are built. Names and arguments follow Keras."""
from ldl_cy.layers.activation import Activation
from ldl_cy.layers.augmentation import GaussianNoise, RandomFlip, RandomTranslation
from ldl_cy.layers.base import Layer
from ldl_cy.layers.bidirectional import Bidirectional
from ldl_cy.layers.category_embedding import CategoryEmbedding
from ldl_cy.layers.conv import Conv1D, Conv2D
from ldl_cy.layers.custom import Custom
from ldl_cy.layers.dense import Dense
from ldl_cy.layers.dropout import Dropout
from ldl_cy.layers.embedding import Embedding
from ldl_cy.layers.merge import Add, Concatenate, Multiply
from ldl_cy.layers.normalization import BatchNorm, LayerNorm, Normalization
from ldl_cy.layers.padding import ZeroPadding1D, ZeroPadding2D
from ldl_cy.layers.pooling import (
    AvgPool1D,
    AvgPool2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
)
from ldl_cy.layers.prelu import PReLU
from ldl_cy.layers.recurrent import GRU, LSTM, RNN, SimpleRNN
from ldl_cy.layers.reshape import Flatten, Permute, Reshape
from ldl_cy.layers.upsampling import UpSampling1D, UpSampling2D

BatchNormalization = BatchNorm
LayerNormalization = LayerNorm

__all__ = [
    "GRU", "LSTM", "RNN", "Activation", "Add", "AvgPool1D", "AvgPool2D", "BatchNorm", "BatchNormalization",
    "Bidirectional", "CategoryEmbedding", "Concatenate", "Conv1D", "Conv2D", "Custom", "Dense", "Dropout",
    "Embedding", "Flatten", "GaussianNoise", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalMaxPool1D",
    "GlobalMaxPool2D", "Layer", "LayerNorm", "LayerNormalization", "MaxPool1D", "MaxPool2D", "Multiply",
    "Normalization", "PReLU", "Permute", "RandomFlip", "RandomTranslation", "Reshape", "SimpleRNN", "UpSampling1D",
    "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D",
]
