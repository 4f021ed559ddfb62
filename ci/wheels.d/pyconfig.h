/* What compiling for another system needs of its pyconfig.h: that of Linux, corrected. Copied beside Linux's headers
 * by ci/wheels.d/targets.sh; nothing that is compiled with it is ever run. */
#if defined(_WIN32)
#define MS_WIN32
#define MS_WINDOWS
#define MS_WIN64
#define NT_THREADS
#define HAVE_DECLSPEC_DLL 1
#define HAVE_SSIZE_T 1
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_SHORT 2
#define SIZEOF_SIZE_T 8
#define SIZEOF_VOID_P 8
#define SIZEOF_WCHAR_T 2
#define ALIGNOF_MAX_ALIGN_T 8
#else
#include "pyconfig_linux.h"
#if defined(__wasm32__)
#undef SIZEOF_LONG
#undef SIZEOF_SIZE_T
#undef SIZEOF_UINTPTR_T
#undef SIZEOF_VOID_P
#undef SIZEOF_PTHREAD_T
#define SIZEOF_LONG 4
#define SIZEOF_SIZE_T 4
#define SIZEOF_UINTPTR_T 4
#define SIZEOF_VOID_P 4
#define SIZEOF_PTHREAD_T 4
#undef HAVE_PTHREAD_H
#undef HAVE_SYS_SELECT_H
#endif
#endif
