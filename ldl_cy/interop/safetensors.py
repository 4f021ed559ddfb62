"""A model from a safetensors file that ``save_weights`` wrote: its metadata describes the network."""
from __future__ import annotations

import json
from typing import Any

from ldl_cy.archive import open_file, readable
from ldl_cy.interop.assembly import Imported, assemble
from ldl_cy.layers.base import layer_names
from ldl_cy.models import Sequential
from ldl_cy.safetensors_file import read_entries, read_metadata
from ldl_cy.serialize import network_of
from ldl_cy.weights import FORMAT, check_dtype, checked

OWNER = "from_safetensors"


def from_safetensors(path: Any) -> Sequential:
    """The model with its weights and running statistics; its training is counted from 0.

    Raises
    ------
    ValueError
        It is no safetensors file, is damaged, has no description of a network of ldl_cy's own layers, or not that
        network's arrays.
    """
    with open_file(OWNER, path) as file:
        metadata = read_metadata(OWNER, path, file)
        if metadata.get("format") != FORMAT or "model" not in metadata:
            raise ValueError(f"{OWNER}: {path} must have a description of the network, as save_weights writes it, in "
                             "its metadata.")
        with readable(OWNER, path, "description of a model"):
            stack, dtype, shape = network_of(json.loads(metadata["model"]))
            entries = read_entries(OWNER, path, file)
            weights: dict[str, dict[str, Any]] = {name: {} for name in layer_names(OWNER, stack)}
            for name, entry in entries.items():
                layer, _, own = name.partition(".")
                if layer not in weights:
                    raise ValueError(f"the arrays must be those of the network, got {name}")
                check_dtype(OWNER, name, entry.dtype)
                weights[layer][own] = checked(OWNER, name, entry, dtype)
            chain = [Imported(each, weights[name], f"the layer {name!r}")
                     for each, name in zip(stack, layer_names(OWNER, stack))]
            return assemble(OWNER, chain, shape, dtype)
