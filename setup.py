"""Build of the compiled rooms. Everything else stands in pyproject.toml."""
import os
import platform
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
# The reports of sanitizers name lines: ci/sanitize, ci/freethreading.
SANITIZED = "-fsanitize" in os.environ.get("CFLAGS", "")
# For ci/coverage: slow modules, each line of which can be traced.
LINE_TRACE = os.environ.get("LDL_CY_LINE_TRACE") == "1"
# The stable ABI, but only where 3.11 itself builds: newer Pythons would give their files a name
# that 3.11 does not import. Tracing is no part of it.
ABI3 = not LINE_TRACE and sys.version_info[:2] == (3, 11) and sys.implementation.name == "cpython"
MACROS = [("Py_LIMITED_API", "0x030B0000")] if ABI3 else [("CYTHON_TRACE_NOGIL", "1")] if LINE_TRACE else []
PARALLEL = int(os.environ.get("LDL_CY_BUILD_JOBS", os.cpu_count() or 1))

# What is built for, not what builds: linux-aarch64, macosx-11.0-arm64, win-amd64, ...
TARGET = sysconfig.get_platform()
if TARGET.endswith("universal2") and "ARCHFLAGS" not in os.environ:
    # python.org's macOS builds compile for two processors at once, which share no flags: take this one
    os.environ["ARCHFLAGS"] = f"-arch {platform.machine()}"
    TARGET = os.environ["_PYTHON_HOST_PLATFORM"] = TARGET.replace("universal2", platform.machine())
X86 = TARGET.replace("_", "-").endswith(("x86-64", "amd64"))
# The vector kernels, once per instruction set; _engine/vec.pyx chooses at import.
ISA_FLAGS = {
    "unix": {
        "v2": ["-msse4.2", "-mpopcnt"],
        "v3": ["-mavx2", "-mfma", "-ffp-contract=fast"],
        "v4": ["-mavx2", "-mfma", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl",
               "-mprefer-vector-width=512", "-ffp-contract=fast"],
    },
    "msvc": {"v2": [], "v3": ["/arch:AVX2"], "v4": ["/arch:AVX512"]},
}
# No -ffast-math: sums keep their order and NaN stays NaN. Only the vector kernels contract a b + c to fma: each
# of their loops runs over whole lanes, so a number's place cannot matter, and no test compares them with a twin.
C_FLAGS = {
    "unix": ["-O3", "-g1" if SANITIZED else "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off",
             "-Wno-unreachable-code"],
    "msvc": ["/O2", "/fp:precise"],
}


class BuildExt(build_ext):
    """Adds the compiler's flags, and vec.c once per instruction set."""

    def build_extensions(self) -> None:
        linker = getattr(self.compiler, "linker_so", None)
        if linker:
            # some Pythons pass on where their own libraries lie: on this machine alone, and nothing here needs them
            self.compiler.linker_so = [part for part in linker if not part.startswith("-Wl,-rpath")]
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        kind = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        ext.extra_compile_args = C_FLAGS[kind] + ext.extra_compile_args
        if TARGET.startswith("linux") and not SANITIZED:
            ext.extra_link_args = ["-Wl,-s", *ext.extra_link_args]
        if ext.name.endswith("._engine.vec"):
            ext.extra_objects = [*ext.extra_objects, *self.vector_objects(kind, ext)]
        super().build_extension(ext)

    def vector_objects(self, kind: str, ext: Extension) -> list[str]:
        """One object file per instruction set, from one source."""
        objects = []
        for isa, flags in (ISA_FLAGS[kind] if X86 else {"base": []}).items():
            objects += self.compiler.compile(
                ["ldl_cy/_engine/vec/vec.c"],
                output_dir=os.path.join(self.build_temp, "isa", isa),
                macros=[("LDL_ISA", isa)],
                include_dirs=ext.include_dirs,
                extra_postargs=ext.extra_compile_args + flags,
                depends=ext.depends,
            )
        return objects


class BdistWheel(bdist_wheel):
    """Tags the wheel cp311-abi3 where the extensions were built so."""

    def finalize_options(self) -> None:
        if ABI3:
            self.py_limited_api = "cp311"
        super().finalize_options()


VEC_FILES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "ldl_cy/_engine/vec").iterdir())
extensions = [
    Extension(
        ".".join(p.relative_to(ROOT).with_suffix("").parts),
        [str(p.relative_to(ROOT))],
        include_dirs=["ldl_cy/_engine"],
        depends=VEC_FILES,
        define_macros=[*MACROS, *([("LDL_X86", "1")] if X86 else [])],
        py_limited_api=ABI3,
    )
    for p in sorted((ROOT / "ldl_cy").glob("_*/*.pyx"))
]
# Cython's own helpers, once instead of in every module; cythonize writes the C file.
SHARED = "ldl_cy._engine._cyutility"
extensions.append(
    Extension(SHARED, [SHARED.replace(".", "/") + ".c"], define_macros=MACROS,
              py_limited_api=ABI3)
)

setup(
    ext_modules=cythonize(
        extensions,
        nthreads=PARALLEL,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "freethreading_compatible": True,
            "linetrace": LINE_TRACE,
        },
        shared_utility_qualified_name=SHARED,
    ),
    cmdclass={"build_ext": BuildExt, "bdist_wheel": BdistWheel},
    options={"build_ext": {"parallel": PARALLEL}},
    zip_safe=False,
)
