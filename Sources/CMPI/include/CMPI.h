#pragma once

// The few functions of MPI that the exchange between processes needs, found in Open MPI's library when the program runs:
// the program is built without MPI and starts without it. Every function is for the one thread that called cmInitialize.
//
// Prototypes and constants are those of Open MPI's binary interface (libmpi.so.40: versions 4 and 5), in which a handle is
// the address of a global variable of the library.

#include <stdint.h>

#define CM_NULLABLE _Nullable
#define CM_NONNULL _Nonnull

/// A message under way.
typedef void *CMRequest;

/// Loads the library. Returns NULL, or why that failed, in the linker's words. The second call returns what the first did.
const char *CM_NULLABLE cmLoad(void);

/// The library's name and version, "Open MPI v4.1.4, …". Needs cmLoad only.
void cmVersion(char text[CM_NONNULL 8192]);

/// MPI_Init_thread with MPI_THREAD_FUNNELED: the calling thread alone calls MPI. Returns 0, or MPI's error code.
int cmInitialize(int *CM_NONNULL rank, int *CM_NONNULL count);

/// Begins to send or receive `byteCount` bytes. Messages between two processes arrive in the order of their sending.
void cmStartSend(const void *CM_NONNULL bytes, int byteCount, int rank, CMRequest CM_NULLABLE *CM_NONNULL request);
void cmStartReceive(void *CM_NONNULL bytes, int byteCount, int rank, CMRequest CM_NULLABLE *CM_NONNULL request);

/// Lets messages go on; 1 when all of these have arrived.
int cmTestAll(int count, CMRequest CM_NULLABLE *CM_NONNULL requests);

/// Ends the processes of all ranks.
void cmAbort(int code);

/// MPI_Finalize: waits for all ranks.
void cmFinalize(void);
