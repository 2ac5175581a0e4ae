/* Counts the calls of a process to the C library that touch one folder, and makes one of them fail.
 *
 * Loaded with LD_PRELOAD. A call touches the folder when a path or an open file that it is given
 * lies in it. faults_arm(folder, at, mode, error) arms it:
 *   KILL   the process is killed right after call number `at` (0: before the first)
 *   FAIL   call number `at` alone fails with `error`
 *   GONE   that call and all later ones fail with `error`, as on a drive that vanished
 *   SHORT  call number `at` writes half of what it should, if it is a write
 *   COUNT  nothing fails
 * faults_calls() returns the number of calls so far; FAULTS_LOG names a file (descriptor) to which
 * each is noted. Calls that only look (stat, read, readdir) count too, unless `writes` is set.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <dirent.h>
#include <unistd.h>

enum { COUNT, KILL, FAIL, GONE, SHORT };

static char folder[PATH_MAX];
static size_t folder_length;
static long at = -1;
static int mode = COUNT;
static int failure;
static int only_writes;
static int log_to = -1;
static atomic_long calls;

void faults_arm(const char *top, long place, int how, int error, int writes, int log_descriptor) {
    folder_length = 0;
    strncpy(folder, top, sizeof folder - 1);
    at = place;
    mode = how;
    failure = error;
    only_writes = writes;
    log_to = log_descriptor;
    atomic_store(&calls, 0);
    if (mode == KILL && at == 0) kill(getpid(), SIGKILL);
    folder_length = strlen(folder);
}

void faults_disarm(void) { folder_length = 0; }

long faults_calls(void) { return atomic_load(&calls); }

static int path_inside(const char *path) {
    return strncmp(path, folder, folder_length) == 0 &&
           (path[folder_length] == '/' || path[folder_length] == 0);
}

static int touches(int directory, const char *path) {
    char absolute[PATH_MAX];
    if (!folder_length || !path) return 0;
    if (path[0] == '/') return path_inside(path);
    if (directory == AT_FDCWD) {
        if (!getcwd(absolute, sizeof absolute)) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        long length = syscall(SYS_readlinkat, AT_FDCWD, link, absolute, sizeof absolute - 1);
        if (length < 0) return 0;
        absolute[length] = 0;
    }
    size_t length = strlen(absolute);
    snprintf(absolute + length, sizeof absolute - length, "/%s", path);
    return path_inside(absolute);
}

static int file_touches(int file) {
    char link[64], target[PATH_MAX];
    if (!folder_length || file < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof target - 1);
    if (length < 0) return 0;
    target[length] = 0;
    return path_inside(target);
}

/* Before a call: its number, 0 where it does not count, -1 where it shall fail. */
static long begin(int counts, int writes, const char *name) {
    if (!counts || (only_writes && !writes)) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (log_to >= 0) {
        char line[64];
        int length = snprintf(line, sizeof line, "%ld %s\n", number, name);
        syscall(SYS_write, log_to, line, length);
    }
    if ((mode == FAIL && number == at) || (mode == GONE && number >= at)) {
        errno = failure;
        return -1;
    }
    return number;
}

static void end(long number) {
    if (mode == KILL && number > 0 && number == at) kill(getpid(), SIGKILL);
}

static int halved(long number) { return mode == SHORT && number > 0 && number == at; }

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define WRAP(type, name, parameters, arguments, counts, writes, failed)   \
    type name parameters {                                               \
        REAL(name);                                                      \
        long number = begin(counts, writes, #name);                      \
        if (number < 0) return failed;                                   \
        type result = real arguments;                                    \
        int kept = errno;                                                \
        end(number);                                                     \
        errno = kept;                                                    \
        return result;                                                   \
    }

#define CHANGES(flags) (((flags) & (O_CREAT | O_TRUNC)) != 0)

#define OPEN(name)                                                       \
    int name(const char *path, int flags, ...) {                         \
        REAL(name);                                                      \
        va_list list;                                                    \
        va_start(list, flags);                                           \
        mode_t rights = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(list, mode_t) : 0; \
        va_end(list);                                                    \
        long number = begin(touches(AT_FDCWD, path), CHANGES(flags), #name); \
        if (number < 0) return -1;                                       \
        int result = real(path, flags, rights);                          \
        int kept = errno;                                                \
        end(number);                                                     \
        errno = kept;                                                    \
        return result;                                                   \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                     \
    int name(int directory, const char *path, int flags, ...) {          \
        REAL(name);                                                      \
        va_list list;                                                    \
        va_start(list, flags);                                           \
        mode_t rights = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(list, mode_t) : 0; \
        va_end(list);                                                    \
        long number = begin(touches(directory, path), CHANGES(flags), #name); \
        if (number < 0) return -1;                                       \
        int result = real(directory, path, flags, rights);               \
        int kept = errno;                                                \
        end(number);                                                     \
        errno = kept;                                                    \
        return result;                                                   \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    long number = begin(file_touches(file), 1, "write");
    if (number < 0) return -1;
    ssize_t result = real(file, data, halved(number) && size > 1 ? size / 2 : size);
    int kept = errno;
    end(number);
    errno = kept;
    return result;
}

#define HERE(path) touches(AT_FDCWD, path)

WRAP(int, creat, (const char *path, mode_t rights), (path, rights), HERE(path), 1, -1)
WRAP(ssize_t, read, (int file, void *data, size_t size), (file, data, size), file_touches(file), 0, -1)
WRAP(ssize_t, pread, (int file, void *data, size_t size, off_t place), (file, data, size, place), file_touches(file), 0, -1)
WRAP(ssize_t, pread64, (int file, void *data, size_t size, off64_t place), (file, data, size, place), file_touches(file), 0, -1)
WRAP(ssize_t, readv, (int file, const struct iovec *parts, int n), (file, parts, n), file_touches(file), 0, -1)
WRAP(ssize_t, writev, (int file, const struct iovec *parts, int n), (file, parts, n), file_touches(file), 1, -1)
WRAP(ssize_t, pwrite, (int file, const void *data, size_t size, off_t place), (file, data, size, place), file_touches(file), 1, -1)
WRAP(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t place), (file, data, size, place), file_touches(file), 1, -1)
WRAP(ssize_t, sendfile, (int out, int in, off_t *place, size_t size), (out, in, place, size), file_touches(out) || file_touches(in), 1, -1)
WRAP(ssize_t, sendfile64, (int out, int in, off64_t *place, size_t size), (out, in, place, size), file_touches(out) || file_touches(in), 1, -1)
WRAP(ssize_t, copy_file_range, (int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags), (in, from, out, to, size, flags), file_touches(out) || file_touches(in), 1, -1)
WRAP(int, ftruncate, (int file, off_t size), (file, size), file_touches(file), 1, -1)
WRAP(int, ftruncate64, (int file, off64_t size), (file, size), file_touches(file), 1, -1)
WRAP(int, fsync, (int file), (file), file_touches(file), 1, -1)
WRAP(int, fdatasync, (int file), (file), file_touches(file), 1, -1)
WRAP(int, fchmod, (int file, mode_t rights), (file, rights), file_touches(file), 1, -1)
WRAP(int, fchown, (int file, uid_t user, gid_t group), (file, user, group), file_touches(file), 1, -1)
WRAP(int, chmod, (const char *path, mode_t rights), (path, rights), HERE(path), 1, -1)
WRAP(int, fchmodat, (int directory, const char *path, mode_t rights, int flags), (directory, path, rights, flags), touches(directory, path), 1, -1)
WRAP(int, chown, (const char *path, uid_t user, gid_t group), (path, user, group), HERE(path), 1, -1)
WRAP(int, rename, (const char *from, const char *to), (from, to), HERE(from) || HERE(to), 1, -1)
WRAP(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), touches(a, from) || touches(b, to), 1, -1)
WRAP(int, link, (const char *from, const char *to), (from, to), HERE(from) || HERE(to), 1, -1)
WRAP(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), touches(a, from) || touches(b, to), 1, -1)
WRAP(int, symlink, (const char *from, const char *to), (from, to), HERE(to), 1, -1)
WRAP(int, unlink, (const char *path), (path), HERE(path), 1, -1)
WRAP(int, unlinkat, (int directory, const char *path, int flags), (directory, path, flags), touches(directory, path), 1, -1)
WRAP(int, mkdir, (const char *path, mode_t rights), (path, rights), HERE(path), 1, -1)
WRAP(int, mkdirat, (int directory, const char *path, mode_t rights), (directory, path, rights), touches(directory, path), 1, -1)
WRAP(int, rmdir, (const char *path), (path), HERE(path), 1, -1)
WRAP(DIR *, opendir, (const char *path), (path), HERE(path), 0, NULL)
WRAP(int, access, (const char *path, int how), (path, how), HERE(path), 0, -1)
WRAP(int, faccessat, (int directory, const char *path, int how, int flags), (directory, path, how, flags), touches(directory, path), 0, -1)
WRAP(int, stat, (const char *path, struct stat *into), (path, into), HERE(path), 0, -1)
WRAP(int, stat64, (const char *path, struct stat64 *into), (path, into), HERE(path), 0, -1)
WRAP(int, lstat, (const char *path, struct stat *into), (path, into), HERE(path), 0, -1)
WRAP(int, lstat64, (const char *path, struct stat64 *into), (path, into), HERE(path), 0, -1)
WRAP(int, fstat, (int file, struct stat *into), (file, into), file_touches(file), 0, -1)
WRAP(int, fstat64, (int file, struct stat64 *into), (file, into), file_touches(file), 0, -1)
WRAP(int, fstatat, (int directory, const char *path, struct stat *into, int flags), (directory, path, into, flags), touches(directory, path), 0, -1)
WRAP(int, fstatat64, (int directory, const char *path, struct stat64 *into, int flags), (directory, path, into, flags), touches(directory, path), 0, -1)
WRAP(ssize_t, readlink, (const char *path, char *into, size_t size), (path, into, size), HERE(path), 0, -1)
