/* Threads that Python does not know, started by Python's own portable function. */
#ifndef LDL_NATIVE_THREAD_H
#define LDL_NATIVE_THREAD_H

#include <Python.h>
#include <pythread.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#endif

#if !defined(_WIN32)
#include <signal.h>
#if defined(__GLIBC__)
/* of the calling thread as well, and in all versions of glibc; pthread_sigmask would be linked to that of 2.32 */
#define ldl_set_signals sigprocmask
#else
#define ldl_set_signals pthread_sigmask
#endif
#endif

/* Start work(argument) in a thread that is never waited for; 0 if the system gives none.
 *
 * It blocks the signals sent to the process: one that the main thread blocks in order to wait for it would otherwise be
 * delivered here. Signals that a fault raises in the thread itself are not blocked, for faulthandler. */
static inline int ldl_start_thread(void (*work)(void *), void *argument)
{
    unsigned long started;
#if defined(_WIN32)
    started = PyThread_start_new_thread(work, argument);
#else
    sigset_t blocked, before;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    sigdelset(&blocked, SIGABRT);
    sigdelset(&blocked, SIGTRAP);
    ldl_set_signals(SIG_SETMASK, &blocked, &before);
    started = PyThread_start_new_thread(work, argument);
    ldl_set_signals(SIG_SETMASK, &before, NULL);
#endif
    return started != (unsigned long)-1;        /* PYTHREAD_INVALID_THREAD_ID, which the limited API leaves out */
}

/* The system's id of the calling thread, for ldl_wait_for_exit; 0 where that does not wait. */
static inline long ldl_thread_number(void)
{
#if defined(__linux__)
    return syscall(SYS_gettid);
#else
    return 0;
#endif
}

/* Wait until the system no longer counts a thread whose function is about to return. That is a moment, or longer on a
 * machine with much other work, but a second or two at most. */
static inline void ldl_wait_for_exit(long number)
{
#if defined(__linux__)
    const struct timespec moment = {0, 20000};
    for (int i = 0; i < 20000 && syscall(SYS_tgkill, getpid(), number, 0) == 0; ++i)
        nanosleep(&moment, NULL);
#else
    (void)number;
#endif
}

#endif
