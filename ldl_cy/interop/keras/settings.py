"""The settings of one layer in Keras' config, from a file of which nothing is known.

Whatever is neither read nor known to act in training alone must be None or False: a setting of a later version, which
may change what a layer computes, is refused.
"""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ldl_cy.checks import as_numbers
from ldl_cy.interop.assembly import Imported
from ldl_cy.layers.base import Shape
from ldl_cy.messages import shown

Read = Callable[[Sequence[Shape]], list[np.ndarray]]        # the layer's weights, which must have these shapes
Make = Callable[[Shape, Read], list[Imported]]              # the layers with their weights, for the shape of the input

# what initial weights, penalties and random numbers come from, how loops are run, and the treatment of masks
TRAINING = re.compile(r"name|dtype|trainable|seed|autocast|unroll|implementation|batch_input_shape|batch_shape|"
                      r"\w+_initializer|\w+_regularizer|\w+_constraint|dropout|recurrent_dropout|unit_forget_bias|"
                      r"zero_output_for_mask|synchronized|renorm_clipping|renorm_momentum|input_length|noise_shape|"
                      r"supports_masking")
# Keras' activations whose formula is the same here
ACTIVATIONS = {**{name: name for name in ("relu", "relu6", "elu", "selu", "gelu", "silu", "softplus", "tanh", "softmax",
                                          "mish", "hard_sigmoid", "hard_silu")},
               "linear": None, "sigmoid": "logistic", "swish": "silu", "hard_swish": "hard_silu"}
# policies and the dtype of their weights; those that compute in half precision are computed in single here
POLICIES = {"float32": "float32", "float64": "float64", "mixed_float16": "float32", "mixed_bfloat16": "float32"}


def is_kerases(entry: dict[str, Any]) -> bool:
    """Whether a class is Keras' own: others may have its names."""
    return re.fullmatch(r"keras(\.src\.(layers|models)\..*|\.layers|\.models)?", str(entry.get("module"))) is not None


class Names:
    """Names of layers, each given out once."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self._counts: Counter[str] = Counter()          # the last number that was tried for a name

    def take(self, *wanted: str) -> str:
        """The first of these that is free, as a word; the last with a number if none is."""
        words = [word if re.match(r"[A-Za-z_]", word) else f"_{word}"
                 for word in (re.sub(r"\W", "_", name) for name in wanted)]
        free = [word for word in words if word not in self.used]
        name = free[0] if free else words[-1]
        while name in self.used:
            self._counts[words[-1]] += 1
            name = f"{words[-1]}_{self._counts[words[-1]]}"
        self.used.add(name)
        return name


class Settings:
    """The settings of a layer.

    Parameters
    ----------
    entry : dict
        Of a config: "class_name", "config".
    names : Names
    name : str or None
        The name that the layer is to have here.
    """

    def __init__(self, entry: Any, names: Names, name: str | None) -> None:
        config = entry.get("config") if isinstance(entry, dict) else None
        class_name = entry.get("class_name") if isinstance(entry, dict) else None
        if not isinstance(config, dict) or not isinstance(class_name, str):
            raise ValueError(f"each layer must have a class_name and a config, got {shown(entry)}")
        self.class_name, self.config, self.names, self.name = class_name, config, names, name
        self.source = f"{class_name} {shown(config.get('name'))}"
        self._read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a setting, which is thereby known."""
        self._read.add(key)
        return self.config.get(key, default)

    def must(self, key: str, *allowed: Any) -> Any:
        """The value of a setting that may only have these; the first is the default."""
        value = self.get(key, allowed[0])
        if not any(type(value) in (type(each), int, float) and value == each for each in allowed):
            raise ValueError(f"{self.source} must have {key} {' or '.join(map(repr, allowed))}, got {shown(value)}")
        return value

    def size(self, key: str, axes: int) -> Any:
        """An int, or as many ints as axes in a tuple; the layer checks them."""
        value = self.get(key, 1)
        if isinstance(value, list):
            return value[0] if axes == len(value) == 1 else tuple(value)
        return value

    def numbers(self, key: str, value: Any) -> np.ndarray:
        """An array of finite float64 from a number or nested lists."""
        if value is None:
            raise ValueError(f"{self.source} must have a {key}, got None")
        array = as_numbers(self.source, key, value).astype(float)
        if not np.isfinite(array).all():
            raise ValueError(f"{self.source} must have a finite {key}, got {shown(value)}")
        return array

    def activation(self, value: Any) -> str | None:
        """Our name of an activation."""
        if not isinstance(value, str) or value not in ACTIVATIONS:
            if value is None:
                return None
            raise ValueError(f"{self.source} must have one of the activations {', '.join(ACTIVATIONS)}, got "
                             f"{shown(value)}")
        return ACTIVATIONS[value]

    def last_axis(self, key: str, axis: Any, shape: tuple[int, ...]) -> None:
        """Refuse an axis that is not the last one, counted with the batch axis as 0 or from the end."""
        if isinstance(axis, bool) or axis not in (-1, len(shape)):
            raise ValueError(f"{self.source} must have {key} -1, the last, got {shown(axis)} for the input {shape}")

    def common(self) -> dict[str, Any]:
        """The arguments that all layers have."""
        trainable = self.get("trainable", True)
        if not isinstance(trainable, bool):
            raise ValueError(f"{self.source} must have trainable True or False, got {shown(trainable)}")
        return {"name": self.name, "trainable": trainable}

    def further(self, role: str) -> str:
        """The name of one more layer that this one is made of."""
        return self.names.take(f"{self.name}_{role}")

    def within(self, entry: Any, name: str | None) -> Settings:
        """The settings of a layer of Keras' within this one."""
        found = Settings(entry, self.names, name)
        if not is_kerases(entry):
            raise ValueError(f"{self.source} must have a layer of Keras' own in it, got {found.source}")
        return found

    def dtype(self) -> str:
        """The dtype of the weights, from a policy or its name."""
        value = policy = self.config.get("dtype", "float32")
        if isinstance(policy, dict) and policy.get("class_name") in ("DTypePolicy", "FloatDTypePolicy"):
            config = policy.get("config")
            value = config.get("name") if isinstance(config, dict) else None
        if value is None:
            return "float32"
        if not isinstance(value, str) or value not in POLICIES:
            raise ValueError(f"{self.source} must have one of the dtypes {', '.join(POLICIES)}, got {shown(value)}")
        return POLICIES[value]

    def leave_rest(self) -> None:
        """Nothing that is left changes a prediction."""
        self._read.update(self.config)

    def close(self) -> None:
        """Refuse settings that were not read, unless they say nothing or only act in training."""
        for key, value in self.config.items():
            if key not in self._read and not TRAINING.fullmatch(key) and value is not None and value is not False:
                raise ValueError(f"{self.source} must have no {key[:100]}, got {shown(value)}")
