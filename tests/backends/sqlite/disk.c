/* A disk for the tests of SQLite, loaded before the C library (LD_PRELOAD). Each sync of a file
   - is counted: a byte is added to $DISK_SYNCS;
   - fails with EIO while the file $DISK_FAILS exists;
   - copies the file to its name in $DISK_SYNCED: what a power cut would leave, if nothing unsynced survived. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void keep(int fd, const char *directory) {
    char link[64], path[4096], kept[8192], buffer[65536];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (!name) return;
    /* Copied beside and renamed, so that a cut in the middle leaves the sync before. */
    char fresh[8192];
    snprintf(kept, sizeof kept, "%s%s", directory, name);
    snprintf(fresh, sizeof fresh, "%s.%d.new", kept, (int)getpid());
    int out = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0) return;
    off_t at = 0;
    for (ssize_t n; (n = pread(fd, buffer, sizeof buffer, at)) > 0; at += n)
        if (write(out, buffer, (size_t)n) != n) break;
    close(out);
    rename(fresh, kept);
}

static int synced(int fd, const char *call) {
    const char *fails = getenv("DISK_FAILS"), *syncs = getenv("DISK_SYNCS"), *kept = getenv("DISK_SYNCED");
    if (fails && access(fails, F_OK) == 0) { errno = EIO; return -1; }
    if (syncs) {
        int out = open(syncs, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (out >= 0) { if (write(out, "!", 1)) {} close(out); }
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    int result = real(fd);
    if (result == 0 && kept) keep(fd, kept);
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
