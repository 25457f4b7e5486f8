#include "CMPI.h"

#include <dlfcn.h>
#include <stddef.h>

// Open MPI's mpi.h: MPI_THREAD_FUNNELED, MPI_STATUSES_IGNORE.
enum { threadFunneled = 1 };
#define STATUSES_IGNORE ((void *)0)

static void *library;
static const char *loadError;

static struct {
  int (*getLibraryVersion)(char *, int *);
  int (*initThread)(int *, char ***, int, int *);
  int (*commRank)(void *, int *);
  int (*commSize)(void *, int *);
  int (*isend)(const void *, int, void *, int, int, void *, void **);
  int (*irecv)(void *, int, void *, int, int, void *, void **);
  int (*testall)(int, void **, int *, void *);
  int (*abort)(void *, int);
  int (*finalize)(void);
  void *world;
  void *byte;
} mpi;

static int find(const char *name, void *place) {
  void *symbol = dlsym(library, name);
  if (symbol == NULL) return 0;
  *(void **)place = symbol;
  return 1;
}

const char *cmLoad(void) {
  if (library != NULL || loadError != NULL) return loadError;
  // Its plug-ins look for the library's symbols among those of the whole program.
  library = dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL);
  if (library == NULL) return loadError = dlerror();
  int isWhole = find("MPI_Get_library_version", &mpi.getLibraryVersion) && find("MPI_Init_thread", &mpi.initThread) &&
      find("MPI_Comm_rank", &mpi.commRank) && find("MPI_Comm_size", &mpi.commSize) && find("MPI_Isend", &mpi.isend) &&
      find("MPI_Irecv", &mpi.irecv) && find("MPI_Testall", &mpi.testall) && find("MPI_Abort", &mpi.abort) &&
      find("MPI_Finalize", &mpi.finalize) && find("ompi_mpi_comm_world", &mpi.world) &&
      find("ompi_mpi_byte", &mpi.byte);
  if (!isWhole) loadError = "libmpi.so.40 lacks functions of Open MPI";
  return loadError;
}

void cmVersion(char text[8192]) {
  int length = 0;
  mpi.getLibraryVersion(text, &length);
}

int cmInitialize(int *rank, int *count) {
  int provided = 0;
  int status = mpi.initThread(NULL, NULL, threadFunneled, &provided);
  if (status == 0 && provided < threadFunneled) status = -1;
  if (status == 0) status = mpi.commRank(mpi.world, rank);
  return status == 0 ? mpi.commSize(mpi.world, count) : status;
}

// Errors of these end the program: MPI_ERRORS_ARE_FATAL is what MPI_COMM_WORLD begins with.

void cmStartSend(const void *bytes, int byteCount, int rank, CMRequest *request) {
  mpi.isend(bytes, byteCount, mpi.byte, rank, 0, mpi.world, request);
}

void cmStartReceive(void *bytes, int byteCount, int rank, CMRequest *request) {
  mpi.irecv(bytes, byteCount, mpi.byte, rank, 0, mpi.world, request);
}

int cmTestAll(int count, CMRequest *requests) {
  int areDone = 0;
  mpi.testall(count, requests, &areDone, STATUSES_IGNORE);
  return areDone;
}

void cmAbort(int code) { mpi.abort(mpi.world, code); }

void cmFinalize(void) { mpi.finalize(); }
