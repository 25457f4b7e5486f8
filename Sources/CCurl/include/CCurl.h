#pragma once

// The few functions of libcurl that fetch one file by GET, found in the library when they are first used: the program is
// built without it and starts without it.
//
// Prototypes and constants are those of libcurl's binary interface (libcurl.so.4: all versions since 7.63), which its
// project does not change.

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define CC_NULLABLE _Nullable
#define CC_NONNULL _Nonnull

/// Loads the library. Returns NULL, or why that failed, in the linker's words. Safe on any thread.
const char *CC_NULLABLE ccLoad(void);

/// The parts of a URL, as libcurl reads it.
typedef struct {
  char scheme[16];
  char host[256];
  /// That of the scheme where the URL has none.
  int32_t port;
  int32_t hasUser;
} CCParts;

/// Returns 0, or libcurl's code of what is wrong with the URL. Needs ccLoad.
int ccParse(const char *CC_NONNULL url, CCParts *CC_NONNULL parts);

typedef struct {
  const char *CC_NONNULL url;
  int64_t milliseconds;
  /// Whether a connection may be made to this address, which is the one that is connected to.
  int32_t (*CC_NONNULL allows)(void *CC_NONNULL context, const struct sockaddr *CC_NONNULL address);
  /// Gets a part of the answer's body; 0 ends the transfer.
  int32_t (*CC_NONNULL takes)(
      void *CC_NONNULL context, int64_t status, const char *CC_NULLABLE contentType, const uint8_t *CC_NONNULL bytes,
      size_t count);
  void *CC_NONNULL context;
} CCRequest;

typedef struct {
  /// libcurl's code: 0 where all has arrived.
  int32_t code;
  /// Of HTTP; 0 where there is none.
  int64_t status;
} CCResult;

/// Fetches a file. Follows no redirect, asks no proxy, sends no credentials and no cookies, and checks certificates. Needs
/// ccLoad. Safe on any thread.
CCResult ccFetch(const CCRequest *CC_NONNULL request);

/// What a code means.
const char *CC_NONNULL ccMessage(int32_t code);
