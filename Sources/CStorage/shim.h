// What `Storage` needs of C: OpenSSL's SHA-256, and two of Linux's calls: to exchange two directory entries, and to synchronize.
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Swaps what is at two paths, atomically. Returns 0, or -1 with errno set.
static inline int minimind_exchange_paths(const char *first, const char *second) {
  const unsigned rename_exchange = 2;  // RENAME_EXCHANGE, which glibc shows only under _GNU_SOURCE
  return (int)syscall(SYS_renameat2, AT_FDCWD, first, AT_FDCWD, second, rename_exchange);
}

/// Waits until all that was written to an open file's file system is on the disk (glibc shows syncfs only under _GNU_SOURCE).
/// Returns 0, or -1 with errno set.
static inline int minimind_synchronize_file_system(int descriptor) { return (int)syscall(SYS_syncfs, descriptor); }
