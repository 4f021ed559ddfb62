"""Build of the compiled rooms: what has changed since the last time. Everything else is in pyproject.toml."""
import os
import platform
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "ci"))
import rebuild  # noqa: E402

sys.path.remove(str(ROOT / "ci"))

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
        "v2": ["-msse4.2", "-mpopcnt", "-Os"],          # of processors before 2013: smaller
        "v3": ["-mavx2", "-mfma", "-ffp-contract=fast"],
        "v4": ["-mavx2", "-mfma", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl",
               "-mprefer-vector-width=512", "-ffp-contract=fast"],
    },
    "msvc": {"v2": [], "v3": ["/arch:AVX2"], "v4": ["/arch:AVX512"]},
}
# No -ffast-math: sums keep their order and NaN stays NaN. Only the vector kernels contract a b + c to fma: each
# of their loops runs over whole lanes, so a number's place cannot matter, and no test compares them with a twin.
# No exception of C++ passes through, so tables for unwinding the stack would be a twentieth of the wheel for nothing.
# With sanitizers gcc 12 takes more than 80 s for each set of vector kernels at -O3, 27 s at -O2.
C_FLAGS = {
    "unix": [*(["-O2", "-g1"] if SANITIZED else
               ["-O3", "-g0", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]),
             "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-Wno-unreachable-code"],
    "msvc": ["/O2", "/fp:precise"],
}
# gcc's -O3 makes kernels an eighth to a third larger: beside these flags it copies loops for special cases.
GCC_FLAGS = ["-O2", "-fvect-cost-model=dynamic", "-fipa-cp-clone"]
# Modules without a loop over numbers that a step is slow by: their size counts, in a wheel of at most 2 MB.
SMALL = {f"ldl_cy.{name}" for name in (
    "_engine._cyutility", "_engine.blas", "_engine.blas_threads", "_engine.collectives",
    "_engine.first_fit", "_engine.gemm_packed", "_engine.loss", "_engine.op", "_engine.pool", "_engine.predictor",
    "_engine.process", "_engine.profile", "_engine.program", "_engine.rng", "_engine.train", "_engine.version",
    "_engine.whole", "_kernels.augmentation", "_kernels.batch_norm", "_kernels.conv_time", "_kernels.custom",
    "_kernels.custom_loss")}
SMALL_FLAGS = {"unix": [] if SANITIZED else ["-Os"], "msvc": ["/O1"]}
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
    "auto_pickle": False,               # what is pickled is Python's; the functions for it take 2 KB of each class
    "linetrace": LINE_TRACE,
}


def is_gcc(command: list[str]) -> bool:
    """Whether a compiler's command is gcc, which may be called cc and have others in front of it, such as ccache."""
    words = [word for word in command if not word.startswith("-")]
    if not words:
        return False
    said = subprocess.run([*words, "--version"], capture_output=True, text=True, check=False).stdout
    return "Free Software Foundation" in said


class BuildExt(build_ext):
    """Makes what is out of date, as ci/rebuild.py finds it, with the flags above."""

    def finalize_options(self) -> None:
        self.objects_given = self.build_temp is not None
        super().finalize_options()
        self.base = Path(self.get_finalized_command("build").build_base)

    def run(self) -> None:
        # setuptools builds in one folder and copies to another, every time; here a module is made where it belongs
        super(build_ext, self).run()

    def build_extensions(self) -> None:
        linker = getattr(self.compiler, "linker_so", [])
        if linker:
            # some Pythons pass on where their own libraries lie: on this machine alone, and nothing here needs them
            self.compiler.linker_so = linker = [part for part in linker if not part.startswith("-Wl,-rpath")]
        # what is out of date is decided here: by their times alone, a module may seem newer than its objects
        self.compiler.force = True
        self.kind = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        compiler = getattr(self.compiler, "compiler_so", [])
        self.gcc_flags = GCC_FLAGS if not SANITIZED and is_gcc(compiler) else []
        tools = [self.kind, self.debug, self.compiler.macros, rebuild.tools(compiler, linker)]
        if not self.objects_given:
            # A folder for each set of tools and flags. setuptools may have chosen another, for an editable wheel one
            # that is then thrown away; here all kinds of builds share their objects.
            self.build_temp = str(self.base / "objects" / rebuild.digest(tools, C_FLAGS, MACROS)[:12])
        modules = [self.module(ext) for ext in self.extensions]
        made = {one.name: Path(one.made) for one in modules}
        for path in rebuild.leftovers(ROOT if self.inplace else Path(self.build_lib), made):
            print(f"removing {path}, which no source is compiled to")
            path.unlink()
        build = rebuild.Build(
            rebuild.Sources(ROOT), rebuild.Records(self.base / rebuild.RECORDS), tools=tools,
            cython=[version("cython"), version("scipy"), DIRECTIVES, MACROS], jobs=self.parallel or 1, force=self.force,
            write_c=self.write_c, compile_object=self.compile_object, link=self.link)
        print(f"compiled modules: {build.run(modules)} of {len(modules)} were out of date")

    def module(self, ext: Extension) -> rebuild.Module:
        """The module of an extension, with the objects that it is linked from."""
        source = ext.sources[0]
        flags = C_FLAGS[self.kind] + (SMALL_FLAGS[self.kind] if ext.name in SMALL else self.gcc_flags)
        arguments = {
            "macros": ext.define_macros, "include_dirs": ext.include_dirs,
            "extra_postargs": flags + ext.extra_compile_args}
        objects = [self.object(os.path.splitext(source)[0] + ".c", self.build_temp, arguments)]
        if ext.name == rebuild.VEC:
            for isa, flags in (ISA_FLAGS[self.kind] if X86 else {"base": []}).items():
                objects.append(self.object(
                    rebuild.VEC_SOURCE, os.path.join(self.build_temp, "isa", isa),
                    arguments | {"macros": [("LDL_ISA", isa)], "extra_postargs": arguments["extra_postargs"] + flags}))
        stripped = ["-Wl,-s"] if TARGET.startswith("linux") and not SANITIZED else []
        return rebuild.Module(
            ext.name, self.get_ext_fullpath(ext.name), source if source.endswith(".pyx") else None, objects,
            {"libraries": self.get_libraries(ext), "library_dirs": ext.library_dirs,
             "runtime_library_dirs": ext.runtime_library_dirs, "extra_postargs": stripped + ext.extra_link_args})

    def object(self, source: str, folder: str, arguments: dict) -> rebuild.Object:
        made, = self.compiler.object_filenames([source], output_dir=folder)
        return rebuild.Object(made, source, folder, arguments)

    def write_c(self, modules: list[rebuild.Module]) -> None:
        from Cython.Build import cythonize  # half a second, for nothing more often than not

        cythonize([self.ext_map[one.name] for one in modules], nthreads=self.parallel or 0, force=True,
                  compiler_directives=DIRECTIVES, shared_utility_qualified_name=rebuild.SHARED)

    def compile_object(self, one: rebuild.Object) -> None:
        self.compiler.compile([one.source], output_dir=one.folder, debug=self.debug, **one.arguments)

    def link(self, module: rebuild.Module) -> None:
        self.compiler.link_shared_object(
            [one.made for one in module.objects], module.made, debug=self.debug, build_temp=self.build_temp,
            export_symbols=self.get_export_symbols(self.ext_map[module.name]), target_lang="c", **module.arguments)


class BdistWheel(bdist_wheel):
    """Tags the wheel cp311-abi3 where the extensions were built so."""

    def finalize_options(self) -> None:
        if ABI3:
            self.py_limited_api = "cp311"
        super().finalize_options()


setup(
    ext_modules=[
        Extension(
            name,
            sources[:1] or [name.replace(".", "/") + ".c"],
            include_dirs=[rebuild.INCLUDE_DIR] if sources else [],
            define_macros=[*MACROS, *([("LDL_X86", "1")] if X86 and sources else [])],
            py_limited_api=ABI3,
        )
        for name, sources in rebuild.modules(ROOT).items()
    ],
    cmdclass={"build_ext": BuildExt, "bdist_wheel": BdistWheel},
    options={"build_ext": {"parallel": PARALLEL}},
    zip_safe=False,
)
