# Sourced by ci/wheels.sh: a wheel for Linux with musl, made by zig, and its smoke test on a CPython that zig makes from
# Debian's sources. No distribution with musl is needed, only Debian's package of the C library itself. scikit-learn has
# no wheels for musl, so the estimators are not tried.

musl_compiler() {    # the C library in $musl/sysroot, a compiler for it in $musl/cc
    musl=$scratch/musl
    quietly unpack amd64-trixie "$musl/sysroot" musl || return 1
    # what it links starts here without being installed: the dynamic linker is named by its place in that folder
    cat > "$musl/cc" <<CC
#!/bin/sh
exec "$ZIG" cc -target x86_64-linux-musl -dynamic -Wl,--dynamic-linker=$musl/sysroot/usr/lib/ld-musl-x86_64.so.1 \\
    -fno-sanitize=undefined -Wno-error=date-time "\$@"
CC
    chmod +x "$musl/cc"
}

library() {    # library NAME FILES...: $musl/lib/libNAME.a from C and assembler
    name=$1
    shift
    for file in "$@"; do
        case $file in *.S) as=-DLIBFFI_ASM ;; *) as= ;; esac
        "$musl/cc" $as -O1 -fPIC -DHAVE_CONFIG_H -DHAVE_UNISTD_H -I"$musl/include" -I"$(dirname "$file")" -I"$musl/ffi/src" \
            -c "$file" -o "$musl/$name-$(basename "$file").o" || return 1
    done
    ar rcs "$musl/lib/lib$name.a" "$musl/$name"-*.o
}

musl_libraries() {    # libz and libffi, which _ctypes needs, with what their configure scripts would find
    mkdir -p "$musl/lib" "$musl/include"
    cp "$musl"/z/z*.h "$musl"/ffi/src/x86/ffitarget.h "$musl/include"
    library z "$musl"/z/*.c || return 1
    sed -e 's/@VERSION@/3/; s/@TARGET@/X86_64/; s/@HAVE_LONG_DOUBLE@/1/; s/@FFI_EXEC_TRAMPOLINE_TABLE@/0/' \
        "$musl/ffi/include/ffi.h.in" > "$musl/include/ffi.h"
    cp "$musl/ffi/include/ffi_common.h" "$musl/ffi/include/ffi_cfi.h" "$musl/ffi/include/tramp.h" "$musl/include"
    {
        printf '#define %s 1\n' HAVE_AS_CFI_PSEUDO_OP HAVE_AS_X86_PCREL HAVE_LONG_DOUBLE HAVE_ALLOCA_H HAVE_MEMCPY \
            HAVE_MMAP HAVE_MMAP_ANON HAVE_MKOSTEMP HAVE_SYS_MMAN_H HAVE_RO_EH_FRAME STDC_HEADERS
        printf '#define %s\n' 'EH_FRAME_FLAGS "a"' 'SIZEOF_DOUBLE 8' 'SIZEOF_LONG_DOUBLE 16' 'SIZEOF_SIZE_T 8'
        printf '#ifdef LIBFFI_ASM\n#define FFI_HIDDEN(name) .hidden name\n#else\n'
        printf '#define FFI_HIDDEN __attribute__((visibility("hidden")))\n#endif\n'
    } > "$musl/include/fficonfig.h"
    (cd "$musl/ffi/src" && library ffi "$PWD"/prep_cif.c "$PWD"/types.c "$PWD"/closures.c "$PWD"/tramp.c \
        "$PWD"/x86/ffi64.c "$PWD"/x86/unix64.S "$PWD"/x86/ffiw64.c "$PWD"/x86/win64.S)
}

musl_sources() {    # $musl/z, $musl/ffi, $musl/source
    (cd "$musl" && DEB=deb-src apt_for amd64-trixie update -o APT::Update::Error-Mode=any &&
        DEB=deb-src apt_for amd64-trixie source --download-only --tar-only zlib libffi python3.13) || return 1
    for pair in zlib:z libffi:ffi python3.13:source; do
        mkdir "$musl/${pair#*:}"
        tar -xf "$musl/${pair%:*}"_*.orig.tar.* --strip-components 1 -C "$musl/${pair#*:}" || return 1
    done
}

musl_python() {    # $musl/python/bin/python3.13
    mkdir "$musl/build"
    # configure knows musl by a mark that musl's own stdarg.h leaves, and zig has another one
    (cd "$musl/build" && ../source/configure CC="$musl/cc" CPP="$musl/cc -E -D__DEFINED_va_list" AR=ar PKG_CONFIG=false \
        LIBFFI_CFLAGS="-I$musl/include" LIBFFI_LIBS="-L$musl/lib -lffi" \
        ZLIB_CFLAGS="-I$musl/include" ZLIB_LIBS="-L$musl/lib -lz" OPT="-O1 -DNDEBUG" \
        --prefix="$musl/python" --without-ensurepip --disable-test-modules --disable-ipv6 &&
        make -j "$(nproc)" && make install)
}

musl_interpreter() { musl_libraries && musl_python; }

musl_wheel() {
    rm -rf "$source/build"      # objects for glibc have the same name
    (cd "$source" && CC=$musl/cc LDSHARED="$musl/cc -shared" _PYTHON_HOST_PLATFORM=linux-x86_64 \
        "$BIN/python" -m build --wheel --no-isolation --outdir "$musl/raw" .) || return 1
    "$BIN/python" -m pip install --target "$musl/site" --python-version 3.13 --implementation cp --abi cp313 --abi none \
        --only-binary :all: --platform musllinux_1_2_x86_64 numpy scipy threadpoolctl tqdm &&
        "$BIN/python" -m pip install --target "$musl/site" --python-version 3.13 --implementation cp --abi abi3 \
        --only-binary :all: --no-deps --platform linux_x86_64 "$musl"/raw/*.whl
}

run_musl() {
    if [ "$(uname -m)" != x86_64 ] || ! have_apt || ! musl_compiler || ! quietly musl_sources; then
        skipped "musl: apt has none of Debian's sources here, or this is not x86-64"
        return 0
    fi
    try "a CPython for musl, made from Debian's sources" musl_interpreter || return 1
    try "a wheel for musl, cross-built" musl_wheel || return 1
    if (cd "$scratch" && PYTHONPATH=$musl/site "$musl/python/bin/python3.13" "$OLDPWD/ci/smoke.py") \
            > "$scratch/smoke" 2>&1; then
        passed "with musl: $(tail -n 1 "$scratch/smoke")"
    else
        cat "$scratch/smoke"
        failed "the smoke test with musl"
        return 1
    fi
}
