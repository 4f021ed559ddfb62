"""Optional packages, imported when a function that needs one is called."""
from __future__ import annotations

import importlib
from types import ModuleType


def import_package(owner: str, name: str, extra: str = "") -> ModuleType:
    """The module of this name.

    Parameters
    ----------
    owner : str
        The function that needs it.
    name : str
        The module, e.g. "onnx" or "safetensors.numpy".
    extra : str, default=""
        The extra of ldl_cy that installs it; "" for a package that no extra installs.

    Raises
    ------
    ImportError
        It is not installed, with the command that installs it.
    """
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:     # it is there, and something that it needs is not
            raise
        wanted = f'"ldl_cy[{extra}]"' if extra else package
        raise ImportError(f"{owner}: needs the package {package}, which is not installed: pip install {wanted}.",
                          name=package) from None
