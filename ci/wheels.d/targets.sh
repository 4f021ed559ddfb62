# Sourced by ci/wheels.sh: all C of the package through clang for each system that gets a wheel, by setup.py's own flags.

TARGETS="x86_64-linux-gnu.2.28 aarch64-linux-gnu.2.28 x86_64-linux-musl aarch64-linux-musl x86_64-macos aarch64-macos
x86_64-windows-gnu aarch64-windows-gnu wasm32-wasi"

platform_of() {    # setup.py's name of a target
    case $1 in
    x86_64-linux*) echo linux-x86_64 ;;
    aarch64-linux*) echo linux-aarch64 ;;
    x86_64-macos) echo macosx-10.13-x86_64 ;;
    aarch64-macos) echo macosx-11.0-arm64 ;;
    x86_64-windows*) echo win-amd64 ;;
    aarch64-windows*) echo win-arm64 ;;
    *) echo emscripten-wasm32 ;;
    esac
}

foreign_headers() {    # Python's headers with a pyconfig.h that knows the other systems, in $scratch/include
    ZIG=$("$BIN/python" -c 'import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).parent / "zig")')
    ZIG_GLOBAL_CACHE_DIR=$scratch/zig
    ZIG_LOCAL_CACHE_DIR=$scratch/zig
    export ZIG_GLOBAL_CACHE_DIR ZIG_LOCAL_CACHE_DIR
    cp -r "$("$BIN/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')" "$scratch/include"
    mv "$scratch/include/pyconfig.h" "$scratch/include/pyconfig_linux.h"
    cp ci/wheels.d/pyconfig.h "$scratch/include"
}

compile_for() {    # compile_for TARGET: every object file, nothing is linked
    # -O0 after setup.py's -O3 is five times as fast; zig would then add checks at run time, which need its runtime
    printf '#!/bin/sh\nexec "%s" cc -target %s -I"%s" "$@" -O0 -fno-sanitize=undefined\n' "$ZIG" "$1" "$scratch/include" > "$scratch/cc-$1"
    chmod +x "$scratch/cc-$1"
    (cd "$source" && CC=$scratch/cc-$1 LDSHARED=true CFLAGS="-Wall -Wno-unused" _PYTHON_HOST_PLATFORM=$(platform_of "$1") \
        "$BIN/python" setup.py build_ext --build-lib "$scratch/$1/lib" --build-temp "$scratch/$1/temp")
}

compile_targets() {
    fault=0
    foreign_headers
    for target in $TARGETS; do
        began=$(date +%s)
        if quietly compile_for "$target"; then
            passed "$(find "$scratch/$target/temp" -name '*.o' | wc -l) object files for $target ($(($(date +%s) - began)) s)"
        else
            failed "$target does not compile"
            fault=1
        fi
        rm -rf "${scratch:?}/$target"
    done
    for arch in x86_64 aarch64; do
        try "vec.c and the headers in C11, as Microsoft's compiler would read them, on $arch" as_msvc $arch || fault=1
    done
    return $fault
}

as_msvc() {    # the branches for a compiler that is not GNU's, which need no headers of Microsoft's
    cat > "$scratch/headers.c" <<'C'
#include "platform.h"
#include "vec/cpu.h"
long all(volatile long *p);
long all(volatile long *p)
{
    uint64_t mode = ldl_flush_denormals();
    ldl_store(p, ldl_cpu_level(3));
    ldl_pause();
    ldl_restore_denormals(mode);
    return ldl_add(p, 1) + ldl_load(p) + ldl_swap(p, 2) + (long)ldl_seconds();
}
C
    for file in "$source/ldl_cy/_engine/vec/vec.c" "$scratch/headers.c"; do
        # one instruction set is enough: Microsoft's compiler gets no other code for the wider ones
        "$ZIG" cc -target "$1-windows-gnu" -fms-extensions -include ci/wheels.d/msvc.h -I"$source/ldl_cy/_engine" \
            -DLDL_ISA=base -std=c11 -O1 -Wall -Werror -Wno-unknown-pragmas -c "$file" -o "$scratch/msvc.o" || return 1
    done
}
