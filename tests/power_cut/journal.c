/* Preloaded into a program that uses a SQLite file: writes a journal of all that is done to the file and its log.
 *
 * The journal says what was written, and from when on it was synced; so one can tell what a disk holds after a power
 * cut at any moment, however the disk reorders and tears what was not synced. POWER_CUT_FILE is the database's path,
 * POWER_CUT_JOURNAL the journal's. While there is a file POWER_CUT_FAILS, each sync fails. Every process appends to one journal, a record in one write. For Linux of 64 bits.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAX_FD = 4096 };

struct record { /* little endian, as the Python that reads it expects */
    char what;
    char pad[3];
    uint32_t length;
    uint64_t file; /* the inode */
    uint64_t at;   /* where it was written, or the size that it was cut to */
};

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);

static int journal = -1;
static const char *path;
static const char *fails; /* while this file is there, each sync fails, and what it should have written is lost */
static uint64_t files[MAX_FD]; /* by descriptor: the inode of a file that is watched, else 0 */
static char is_directory[MAX_FD];

__attribute__((constructor)) static void load(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    path = getenv("POWER_CUT_FILE");
    fails = getenv("POWER_CUT_FAILS");
    const char *name = getenv("POWER_CUT_JOURNAL");
    if (path && name)
        journal = real_open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
}

static void note(char what, uint64_t file, uint64_t at, const void *data, size_t length) {
    struct record head = {what, {0}, (uint32_t)length, file, at};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, length}};
    if (journal >= 0 && writev(journal, parts, 2) != (ssize_t)(sizeof head + length))
        abort(); /* a journal with a gap says nothing */
}

/* The name of a watched file, without its directory; NULL for all others, and for what a power cut leaves nothing of. */
static const char *watched(const char *name) {
    size_t length = path ? strlen(path) : 0;
    if (journal < 0 || !length || strncmp(name, path, length) != 0)
        return NULL;
    const char *rest = name + length;
    if (*rest && strcmp(rest, "-wal") != 0 && strcmp(rest, "-journal") != 0)
        return NULL;
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static int opened(const char *name, int fd) {
    struct stat found;
    if (fd < 0 || fd >= MAX_FD || journal < 0)
        return fd;
    const char *base = watched(name);
    const char *slash = path ? strrchr(path, '/') : NULL;
    files[fd] = 0;
    is_directory[fd] = slash && strlen(name) == (size_t)(slash - path) && strncmp(name, path, slash - path) == 0;
    if (base && fstat(fd, &found) == 0) {
        files[fd] = found.st_ino;
        note('O', found.st_ino, 0, base, strlen(base));
    }
    return fd;
}

int open(const char *name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(name, real_open(name, flags, mode));
}

int open64(const char *name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(name, real_open(name, flags, mode));
}

static uint64_t file_of(int fd) { return fd >= 0 && fd < MAX_FD ? files[fd] : 0; }

int close(int fd) {
    if (fd >= 0 && fd < MAX_FD)
        files[fd] = is_directory[fd] = 0;
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t at) {
    ssize_t done = real_pwrite(fd, data, length, at);
    if (done > 0 && file_of(fd))
        note('W', files[fd], at, data, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return pwrite64(fd, data, length, at); }

ssize_t write(int fd, const void *data, size_t length) {
    if (!file_of(fd))
        return real_write(fd, data, length);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = real_write(fd, data, length);
    if (done > 0)
        note('W', files[fd], at, data, done);
    return done;
}

int ftruncate64(int fd, off_t size) {
    int failed = real_ftruncate(fd, size);
    if (!failed && file_of(fd))
        note('T', files[fd], size, "", 0);
    return failed;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* What was written before the sync began is safe when it has ended. */
static int synced(int fd, int (*sync)(int)) {
    uint64_t file = file_of(fd);
    char directory = fd >= 0 && fd < MAX_FD && is_directory[fd];
    if (file || directory)
        note(directory ? 'd' : 's', file, gettid(), "", 0);
    if (file && fails && access(fails, F_OK) == 0) {
        note('F', file, gettid(), "", 0);
        errno = EIO;
        return -1;
    }
    int failed = sync(fd);
    if (!failed && (file || directory))
        note(directory ? 'D' : 'S', file, gettid(), "", 0);
    return failed;
}

int fsync(int fd) { return synced(fd, real_fsync); }

int fdatasync(int fd) { return synced(fd, real_fdatasync); }

int unlink(const char *name) {
    struct stat found;
    const char *base = watched(name);
    uint64_t file = base && stat(name, &found) == 0 ? found.st_ino : 0;
    int failed = real_unlink(name);
    if (!failed && file)
        note('U', file, 0, base, strlen(base));
    return failed;
}
