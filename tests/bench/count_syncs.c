/* Counts what a program asks of the disk: loaded before the C library, it stands in for three of its functions. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/file.h>

static long syncs, locks;

static int sync_of(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    __atomic_add_fetch(&syncs, 1, __ATOMIC_RELAXED);
    return real(fd);
}

int fsync(int fd) { return sync_of("fsync", fd); }

int fdatasync(int fd) { return sync_of("fdatasync", fd); }

int flock(int fd, int operation) {
    int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    if (operation & LOCK_EX) __atomic_add_fetch(&locks, 1, __ATOMIC_RELAXED);
    return real(fd, operation);
}

long bench_syncs(void) { return __atomic_load_n(&syncs, __ATOMIC_RELAXED); }

/* dawdle takes its lock file once for each transaction. */
long bench_locks(void) { return __atomic_load_n(&locks, __ATOMIC_RELAXED); }
