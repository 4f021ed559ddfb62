"""All contenders held to one instruction set: the variables that OpenBLAS, NumPy, torch and XLA read."""
from __future__ import annotations

NAMES = ("v3",)                         # AVX2; ldl_cy's own is chosen by the worker


def held_to(isa):
    """Variables of a process; none without a name."""
    if isa is None:
        return {}
    return {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": " ".join(wider()),
            "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}


def wider():
    """NumPy's names for what is wider than AVX2, of this processor."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return [name for name in __cpu_dispatch__
            if (name == "X86_V4" or name.startswith("AVX512")) and __cpu_features__.get(name)]
