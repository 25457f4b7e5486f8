#pragma once

// The few functions of PJRT that programs need: the interface that XLA's plugins for GPUs, TPUs and CPUs give their users
// (https://openxla.org/xla/pjrt). A plugin is a shared library that is loaded when it is asked for; the program is built and
// starts without one. An object is used by one thread at a time.

#include <stddef.h>
#include <stdint.h>

#define CP_NULLABLE _Nullable
#define CP_NONNULL _Nonnull

/// A plugin with its devices, a program that is compiled for one of them, and a tensor in its memory.
typedef struct CPClient CPClient;
/// A kind of device that need not be there.
typedef struct CPTarget CPTarget;
typedef struct CPExecutable CPExecutable;
typedef struct CPBuffer CPBuffer;

/// Why a call failed.
typedef struct {
  /// Of gRPC's codes, which plugins use; -1 when the plugin itself could not be used.
  int code;
  /// In the plugin's or the linker's words, ending in 0.
  char message[4096];
} CPError;

/// `RESOURCE_EXHAUSTED`: the device has not enough memory.
enum { cpResourceExhausted = 8 };

/// More devices than a machine has.
enum { cpMostReplicas = 64 };

/// The types of elements, by PJRT's numbers.
enum { cpBoolean = 1, cpInt32 = 4, cpFloat32 = 11, cpBFloat16 = 13 };

/// Loads the plugin in the file and starts its devices. NULL after an error.
CPClient *CP_NULLABLE cpOpen(const char *CP_NONNULL path, CPError *CP_NONNULL error);

/// The version of the interface that the plugin has: 0.MINOR.
int cpMinorVersion(const CPClient *CP_NONNULL client);

/// What the plugin is for, such as "cuda", and its version in its own words, into 256 characters each.
int cpPlatform(CPClient *CP_NONNULL client, char name[CP_NONNULL 256], char version[CP_NONNULL 256],
               CPError *CP_NONNULL error);

int cpDeviceCount(const CPClient *CP_NONNULL client);

/// What a device is, such as "NVIDIA H200", into 256 characters; bytes of its memory, or 0 if the plugin does not say.
int cpDevice(CPClient *CP_NONNULL client, int device, char kind[CP_NONNULL 256], int64_t *CP_NONNULL memory,
             CPError *CP_NONNULL error);

/// Compiles StableHLO for the client's first devices, a replica on each, at most `cpMostReplicas`. NULL after an error.
CPExecutable *CP_NULLABLE cpCompile(CPClient *CP_NONNULL client, const char *CP_NONNULL text, size_t byteCount,
                                    int replicas, CPError *CP_NONNULL error);

/// Calls `write` with the bytes of a compiled program, which `cpLoad` takes. 0 after an error.
int cpSerialize(CPExecutable *CP_NONNULL executable, void *CP_NULLABLE context,
                void (*CP_NONNULL write)(void *CP_NULLABLE context, const void *CP_NONNULL bytes, size_t byteCount),
                CPError *CP_NONNULL error);
CPExecutable *CP_NULLABLE cpLoad(CPClient *CP_NONNULL client, const void *CP_NONNULL bytes, size_t byteCount,
                                 CPError *CP_NONNULL error);

/// Bytes of the device's memory that a run takes in addition to its inputs and outputs. 0 after an error.
int cpTemporaryBytes(CPExecutable *CP_NONNULL executable, int64_t *CP_NONNULL bytes, CPError *CP_NONNULL error);

/// A kind of device to compile for, which the plugin in the file need not find. NULL after an error.
///
/// `description` is XLA's GpuTargetConfigProto as text.
CPTarget *CP_NULLABLE cpTarget(const char *CP_NONNULL path, const char *CP_NONNULL description, CPError *CP_NONNULL error);

/// The plugin's version in its own words, into 256 characters.
int cpTargetVersion(CPTarget *CP_NONNULL target, char version[CP_NONNULL 256], CPError *CP_NONNULL error);

/// Compiles StableHLO for such a device, and tells what `cpTemporaryBytes` does. 0 after an error.
int cpCompileForTarget(CPTarget *CP_NONNULL target, const char *CP_NONNULL text, size_t byteCount,
                       int64_t *CP_NONNULL temporaries, CPError *CP_NONNULL error);

void cpFreeExecutable(CPExecutable *CP_NONNULL executable);

/// A copy of a host's array in the memory of one of the client's devices. NULL after an error.
CPBuffer *CP_NULLABLE cpUpload(CPClient *CP_NONNULL client, int device, const void *CP_NONNULL data, int type,
                               const int64_t *CP_NONNULL shape, size_t axes, CPError *CP_NONNULL error);

/// Copies a tensor into the host's memory. 0 after an error.
int cpDownload(CPClient *CP_NONNULL client, CPBuffer *CP_NONNULL buffer, void *CP_NONNULL data, size_t byteCount,
               CPError *CP_NONNULL error);

void cpFreeBuffer(CPClient *CP_NONNULL client, CPBuffer *CP_NONNULL buffer);

/// Runs a program and waits for its end. Inputs whose memory it takes are empty afterwards, but must be freed all the same.
/// 0 after an error.
///
/// `inputs` are those of the first replica, then those of the second, and so on; `outputs` likewise, with room for
/// `outputCount` of each, as many as the program has.
int cpRun(CPExecutable *CP_NONNULL executable, int replicas, CPBuffer *CP_NULLABLE const *CP_NONNULL inputs,
          size_t inputCount, CPBuffer *CP_NULLABLE *CP_NONNULL outputs, size_t outputCount, CPError *CP_NONNULL error);

// NVIDIA's compiler of kernels as a library (NVRTC, https://docs.nvidia.com/cuda/nvrtc), of which a few functions are needed. It
// is loaded when it is asked for, and needs no GPU.

/// Compiles CUDA's source to PTX, a text that ends in 0 and that `cpFreeText` frees. NULL after an error.
///
/// `library` is the file of NVRTC, and `options` are those of its command line.
char *CP_NULLABLE cpCompileKernel(const char *CP_NONNULL library, const char *CP_NONNULL source,
                                  const char *CP_NULLABLE const *CP_NONNULL options, int optionCount,
                                  CPError *CP_NONNULL error);

void cpFreeText(char *CP_NONNULL text);
