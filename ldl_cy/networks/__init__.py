"""Published architectures, as lists of layers without the output layer.

A list goes into ``Sequential([*networks.resnet(18), layers.Dense(1000)])``, where the output layer is added, or into
``NeuralNetClassifier(layers=networks.inception_time())``, where the target decides it. The layers fit any size of image
or length of series that is not too small. Counts of parameters in the docstrings are those of the weights that are
trained, running statistics left out.
"""
from ldl_cy.networks.fcn import fcn, lstm_fcn
from ldl_cy.networks.inception_time import inception_time
from ldl_cy.networks.lenet import lenet5
from ldl_cy.networks.mobilenet import mobilenet_v2
from ldl_cy.networks.resnet import resnet
from ldl_cy.networks.resnet_series import resnet_series
from ldl_cy.networks.tcn import tcn
from ldl_cy.networks.vgg import vgg

__all__ = ["fcn", "inception_time", "lenet5", "lstm_fcn", "mobilenet_v2", "resnet", "resnet_series", "tcn", "vgg"]
