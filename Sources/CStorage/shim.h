// What `Storage` needs of C: OpenSSL's SHA-256, and Linux's exchange of two directory entries in one step.
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Swaps what is at two paths, atomically. Returns 0, or -1 with errno set.
static inline int minimind_exchange_paths(const char *first, const char *second) {
  const unsigned rename_exchange = 2;  // RENAME_EXCHANGE, which glibc shows only under _GNU_SOURCE
  return (int)syscall(SYS_renameat2, AT_FDCWD, first, AT_FDCWD, second, rename_exchange);
}
