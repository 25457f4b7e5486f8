#pragma once

// The binary interface of PJRT, as far as it is used: the order of a plugin's functions, and what each takes. A plugin gives a
// structure that begins with its size and version, followed by pointers to its functions. A function takes a pointer to its
// arguments, which begin with their size and a list of extensions, and hold its results too; it returns NULL or an error.
// Functions and arguments keep their places for good, and new ones come last: what is written here is version 0.90's, and
// true for all later ones.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  size_t size;
  void *extensions;
} Head;

typedef void *(*Function)(void *arguments);

enum {
  errorDestroy = 0,
  errorMessage = 1,
  errorGetCode = 2,
  pluginInitialize = 3,
  eventDestroy = 5,
  eventAwait = 8,
  clientCreate = 10,
  clientPlatformName = 12,
  clientPlatformVersion = 14,
  clientAddressableDevices = 16,
  clientCompile = 20,
  clientBufferFromHostBuffer = 22,
  deviceDescriptionKind = 26,
  deviceGetDescription = 29,
  deviceMemoryStats = 34,
  executableDestroy = 40,
  executableSerialize = 49,
  loadedExecutableDestroy = 50,
  loadedExecutableGetExecutable = 51,
  loadedExecutableExecute = 55,
  executableDeserializeAndLoad = 56,
  bufferDestroy = 58,
  bufferToHostBuffer = 70,
  topologyCreate = 82,
  topologyPlatformVersion = 85,
  compile = 89,
  executableGetCompiledMemoryStats = 96,
  functionCount = 97
};

typedef struct {
  Head head;
  struct {
    Head head;
    int major, minor;
  } version;
  Function functions[functionCount];
} Interface;

/// Of the functions that take or give a pointer and nothing else: errorDestroy, pluginInitialize (none), eventDestroy,
/// eventAwait, executableDestroy, loadedExecutableDestroy, bufferDestroy.
typedef struct {
  Head head;
  void *object;
} Object;

/// Of an object, a text: errorMessage, clientPlatformName, clientPlatformVersion, deviceDescriptionKind,
/// topologyPlatformVersion.
typedef struct {
  Head head;
  void *object;
  const char *text;
  size_t length;
} Text;

/// Of an object, another: deviceGetDescription, loadedExecutableGetExecutable.
typedef struct {
  Head head;
  void *object, *result;
} Related;

typedef struct {
  Head head;
  void *error;
  int code;
} ErrorGetCode;

typedef struct {
  Head head;
  const void *options;
  size_t optionCount;
  void *getCallback, *getContext, *putCallback, *putContext;
  void *client;
  void *tryGetCallback, *tryGetContext;
} ClientCreate;

typedef struct {
  Head head;
  void *client;
  void *const *devices;
  size_t count;
} ClientAddressableDevices;

typedef struct {
  int64_t value;
  bool isSet;
} Statistic;

typedef struct {
  Head head;
  void *device;
  int64_t bytesInUse;
  Statistic peakBytesInUse, allocations, largestAllocation, bytesLimit, bytesReserved, peakBytesReserved,
      bytesReservableLimit, largestFreeBlock, poolBytes, peakPoolBytes;
} DeviceMemoryStats;

typedef struct {
  Head head;
  const char *code;
  size_t codeSize;
  const char *format;
  size_t formatSize;
} Source;

typedef struct {
  Head head;
  void *client;
  const Source *source;
  const char *options;
  size_t optionsSize;
  void *executable;
} ClientCompile;

/// An option that is a text: of the other kinds none is used.
typedef struct {
  Head head;
  const char *name;
  size_t nameLength;
  int type;
  const char *text;
  size_t length;
} NamedText;

typedef struct {
  Head head;
  const char *name;
  size_t nameLength;
  const NamedText *options;
  size_t optionCount;
  void *topology;
} TopologyCreate;

typedef struct {
  Head head;
  void *topology;
  const Source *source;
  const char *options;
  size_t optionsSize;
  void *client;
  void *executable;
} Compile;

typedef struct {
  Head head;
  void *executable;
  const char *bytes;
  size_t byteCount;
  void *serialized;
  void (*freeSerialized)(void *serialized);
} ExecutableSerialize;

typedef struct {
  Head head;
  void *client;
  const char *bytes;
  size_t byteCount;
  void *executable;
  const char *options;
  size_t optionsSize;
} ExecutableDeserializeAndLoad;

typedef struct {
  Head head;
  void *executable;
  int64_t code, arguments, outputs, aliases, temporaries;
  int64_t hostCode, hostArguments, hostOutputs, hostAliases, hostTemporaries;
  int64_t peak, total;
} ExecutableGetCompiledMemoryStats;

typedef struct {
  Head head;
  void *client;
  const void *data;
  int type;
  const int64_t *shape;
  size_t axes;
  const int64_t *strides;
  size_t strideCount;
  /// 0: the data are copied before the call returns.
  int semantics;
  void *device, *memory, *layout;
  void *event;
  void *buffer;
} ClientBufferFromHostBuffer;

typedef struct {
  Head head;
  void *buffer, *layout;
  void *data;
  size_t byteCount;
  void *event;
} BufferToHostBuffer;

typedef struct {
  Head head;
  void *sends, *receives;
  size_t sendCount, receiveCount;
  int launch;
  const int64_t *keptInputs;
  size_t keptInputCount;
  void *context;
  const char *location;
  size_t taskCount;
  int *tasks;
  int64_t *incarnations;
} ExecuteOptions;

typedef struct {
  Head head;
  void *executable;
  ExecuteOptions *options;
  void *const *const *inputs;
  size_t deviceCount, inputCount;
  void **const *outputs;
  void **events;
  void *device;
} LoadedExecutableExecute;
