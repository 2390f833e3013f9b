/* Logs, in order, what a process does to the files of one folder: the raw material of the power-cut test.
 *
 * Preloaded (LD_PRELOAD) into a real process. WRITE_LOG_FOLDER names the folder, by its real path, WRITE_LOG_FILE the
 * log. Each call is done and logged under one mutex, so that the log is one order of events that has happened.
 * Record, little-endian:  u8 op, u32 name length, u64 number, u64 data length, name, data
 * where name is relative to the folder ("." for the folder itself).
 * Memory maps are not seen: SQLite maps only its -shm file, which is worth nothing after a crash.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OP_WRITE = 1, OP_TRUNCATE, OP_SYNC, OP_UNLINK, OP_RENAME, OP_CREATE };

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int log_fd = -1;
static char folder[PATH_MAX];
static size_t folder_length;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t real_write(int fd, const void *data, size_t length) {
    REAL(write);
    return real(fd, data, length);
}

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("WRITE_LOG_FOLDER"), *file = getenv("WRITE_LOG_FILE");
    if (!where || !file) return;
    folder_length = strlen(where);
    if (folder_length == 0 || folder_length >= sizeof folder) return;
    memcpy(folder, where, folder_length + 1);
    __typeof__(&open) real = (__typeof__(&open))dlsym(RTLD_NEXT, "open");
    log_fd = real(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

/* The name within the folder, or NULL. */
static const char *inside(const char *path) {
    if (log_fd < 0 || strncmp(path, folder, folder_length) != 0) return NULL;
    if (path[folder_length] == '\0') return ".";
    return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

static const char *inside_fd(int fd, char *buffer) {
    char link[64];
    if (log_fd < 0) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    if (length <= 0) return NULL;
    buffer[length] = '\0';
    if (strstr(buffer, " (deleted)")) return NULL;
    return inside(buffer);
}

static const char *inside_path(int directory, const char *path, char *buffer) {
    char parent[PATH_MAX];
    if (log_fd < 0 || !path) return NULL;
    if (path[0] == '/') {
        snprintf(buffer, PATH_MAX, "%s", path);
    } else if (directory == AT_FDCWD) {
        if (!getcwd(parent, sizeof parent)) return NULL;
        if (snprintf(buffer, PATH_MAX, "%s/%s", parent, path) >= PATH_MAX) return NULL;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t length = readlink(link, parent, sizeof parent - 1);
        if (length <= 0) return NULL;
        parent[length] = '\0';
        if (snprintf(buffer, PATH_MAX, "%s/%s", parent, path) >= PATH_MAX) return NULL;
    }
    return inside(buffer);
}

static void put(const void *data, size_t length) {
    const char *from = data;
    while (length) {
        ssize_t done = real_write(log_fd, from, length);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) abort(); /* half a log proves nothing */
        from += done;
        length -= (size_t)done;
    }
}

static void note(uint8_t op, const char *name, uint64_t number, const void *data, uint64_t length) {
    int before = errno;
    uint32_t name_length = (uint32_t)strlen(name);
    put(&op, sizeof op);
    put(&name_length, sizeof name_length);
    put(&number, sizeof number);
    put(&length, sizeof length);
    put(name, name_length);
    if (length) put(data, length);
    errno = before;
}

static void note_write(int fd, int64_t offset, const void *data, ssize_t length) {
    char buffer[PATH_MAX];
    const char *name = length > 0 ? inside_fd(fd, buffer) : NULL;
    if (!name) return;
    int before = errno;
    if (offset < 0) offset = (int64_t)lseek(fd, 0, SEEK_CUR) - length;
    errno = before;
    note(OP_WRITE, name, (uint64_t)offset, data, (uint64_t)length);
}

#define LOCKED(type, call, after) \
    pthread_mutex_lock(&lock); \
    type result = call; \
    after; \
    pthread_mutex_unlock(&lock); \
    return result

ssize_t write(int fd, const void *data, size_t length) {
    LOCKED(ssize_t, real_write(fd, data, length), note_write(fd, -1, data, result));
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    REAL(pwrite);
    LOCKED(ssize_t, real(fd, data, length, offset), note_write(fd, offset, data, result));
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    REAL(pwrite64);
    LOCKED(ssize_t, real(fd, data, length, offset), note_write(fd, offset, data, result));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t total = 0;
    for (int part = 0; part < count; part++) {
        ssize_t done = write(fd, parts[part].iov_base, parts[part].iov_len);
        if (done < 0) return total ? total : done;
        total += done;
        if ((size_t)done < parts[part].iov_len) break;
    }
    return total;
}

static void note_fd(int op, int fd, uint64_t number, int result) {
    char buffer[PATH_MAX];
    const char *name = result == 0 ? inside_fd(fd, buffer) : NULL;
    if (name) note((uint8_t)op, name, number, NULL, 0);
}

int ftruncate(int fd, off_t length) {
    REAL(ftruncate);
    LOCKED(int, real(fd, length), note_fd(OP_TRUNCATE, fd, (uint64_t)length, result));
}

int ftruncate64(int fd, off64_t length) {
    REAL(ftruncate64);
    LOCKED(int, real(fd, length), note_fd(OP_TRUNCATE, fd, (uint64_t)length, result));
}

int fsync(int fd) {
    REAL(fsync);
    LOCKED(int, real(fd), note_fd(OP_SYNC, fd, 0, result));
}

int fdatasync(int fd) {
    REAL(fdatasync);
    LOCKED(int, real(fd), note_fd(OP_SYNC, fd, 0, result));
}

static void note_unlink(int directory, const char *path, int result) {
    char buffer[PATH_MAX];
    const char *name = result == 0 ? inside_path(directory, path, buffer) : NULL;
    if (name) note(OP_UNLINK, name, 0, NULL, 0);
}

int unlink(const char *path) {
    REAL(unlink);
    LOCKED(int, real(path), note_unlink(AT_FDCWD, path, result));
}

int unlinkat(int directory, const char *path, int flags) {
    REAL(unlinkat);
    LOCKED(int, real(directory, path, flags), note_unlink(directory, path, result));
}

static void note_rename(int from_directory, const char *from, int to_directory, const char *to, int result) {
    char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
    if (result != 0) return;
    const char *name = inside_path(from_directory, from, from_buffer);
    const char *new_name = inside_path(to_directory, to, to_buffer);
    if (name && new_name) note(OP_RENAME, name, 0, new_name, strlen(new_name));
    else if (name || new_name) abort(); /* across the folder's border: not in this log's words */
}

int rename(const char *from, const char *to) {
    REAL(rename);
    LOCKED(int, real(from, to), note_rename(AT_FDCWD, from, AT_FDCWD, to, result));
}

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    REAL(renameat);
    LOCKED(int, real(from_directory, from, to_directory, to),
           note_rename(from_directory, from, to_directory, to, result));
}

/* Files that an open makes or empties. */
static int opened(int (*real)(int, const char *, int, ...), int directory, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *name = flags & (O_CREAT | O_TRUNC) ? inside_path(directory, path, buffer) : NULL;
    if (!name) return real(directory, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat state;
    int there = fstatat(directory, path, &state, 0) == 0;
    int result = real(directory, path, flags, mode);
    if (result >= 0 && !there) note(OP_CREATE, name, 0, NULL, 0);
    else if (result >= 0 && (flags & O_TRUNC)) note(OP_TRUNCATE, name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

#define MODE(last) \
    mode_t mode = 0; \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
        va_list more; \
        va_start(more, last); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

int openat(int directory, const char *path, int flags, ...) {
    REAL(openat);
    MODE(flags);
    return opened(real, directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
    REAL(openat64);
    MODE(flags);
    return opened(real, directory, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    REAL(openat);
    MODE(flags);
    return opened(real, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    REAL(openat64);
    MODE(flags);
    return opened(real, AT_FDCWD, path, flags, mode);
}
