/* Faults at the system's calls, for processes that preload this (LD_PRELOAD). What happens, variables say:
 *
 *   FAULT_CLOCK=1    the wall clock jumps by up to ten years, forth and back, whenever it is looked at
 *   FAULT_LOCKS=1    the file system has no locks
 *   FAULT_AT=END     as a file is renamed to a name with this end, the process gets
 *   FAULT_SIGNAL=N   this signal,
 *   FAULT_WHEN=after when it has its name [before]; once
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long jump(void) {
    static unsigned long state = 1;
    state = state * 6364136223846793005UL + 1442695040888963407UL;
    return (long)((state >> 33) % 630720000UL) - 315360000L;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) && getenv("FAULT_CLOCK"))
        now->tv_sec += jump();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}

int flock(int descriptor, int operation) {
    static int (*real)(int, int);
    if (!real) real = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    if (getenv("FAULT_LOCKS")) {
        errno = ENOLCK;
        return -1;
    }
    return real(descriptor, operation);
}

int rename(const char *from, const char *to) {
    static int (*real)(const char *, const char *);
    static int done;
    if (!real) real = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    const char *end = getenv("FAULT_AT"), *number = getenv("FAULT_SIGNAL"), *when = getenv("FAULT_WHEN");
    size_t length = end ? strlen(end) : 0;
    int here = end && number && !done && strlen(to) >= length && !strcmp(to + strlen(to) - length, end);
    int after = when && !strcmp(when, "after");
    done |= here;
    if (here && !after) kill(getpid(), atoi(number));
    int result = real(from, to);
    if (here && after) kill(getpid(), atoi(number));
    return result;
}
