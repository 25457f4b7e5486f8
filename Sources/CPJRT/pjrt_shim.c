#include "CPJRT.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interface.h"

struct CPClient {
  const Interface *interface;
  void *client;
  void *const *devices;
  size_t deviceCount;
};

struct CPTarget {
  const Interface *interface;
  void *topology;
};

struct CPExecutable {
  const Interface *interface;
  void *executable;
};

/// Arguments with their size, all else zero.
#define ARGUMENTS(type, name) \
  type name;                  \
  memset(&name, 0, sizeof name); \
  name.head.size = sizeof name

/// Options for a replica on each of some devices: a CompileOptionsProto whose field 3, executable_build_options, has in the
/// fields 4 and 5 num_replicas, here 1, and num_partitions.
static const char compileOptions[] = {0x1A, 0x04, 0x20, 0x01, 0x28, 0x01};
enum { replicasPlace = 3 };

static void describe(CPError *error, int code, const char *message, size_t length) {
  error->code = code;
  if (length >= sizeof error->message) length = sizeof error->message - 1;
  memcpy(error->message, message, length);
  error->message[length] = 0;
}

static void *fail(CPError *error, const char *message) {
  describe(error, -1, message, strlen(message));
  return NULL;
}

/// Calls a function of the plugin. 0 after an error, which is described.
static int call(const Interface *interface, int function, void *arguments, CPError *error) {
  void *failure = interface->functions[function](arguments);
  if (failure == NULL) return 1;
  ARGUMENTS(Text, message);
  message.object = failure;
  interface->functions[errorMessage](&message);
  ARGUMENTS(ErrorGetCode, code);
  code.error = failure;
  interface->functions[errorGetCode](&code);
  describe(error, code.code, message.text, message.length);
  ARGUMENTS(Object, destroyed);
  destroyed.object = failure;
  interface->functions[errorDestroy](&destroyed);
  return 0;
}

/// Of what has no result and cannot fail in a way that anyone could help.
static void release(const Interface *interface, int function, void *object) {
  CPError ignored;
  ARGUMENTS(Object, arguments);
  arguments.object = object;
  call(interface, function, &arguments, &ignored);
}

/// Waits for an event and frees it.
static int await(const Interface *interface, void *event, CPError *error) {
  if (event == NULL) return 1;
  ARGUMENTS(Object, arguments);
  arguments.object = event;
  int isDone = call(interface, eventAwait, &arguments, error);
  release(interface, eventDestroy, event);
  return isDone;
}

/// The functions of the plugin in a file, which is made ready. NULL after an error.
static const Interface *load(const char *path, CPError *error) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return fail(error, dlerror());
  const Interface *(*get)(void) = (const Interface *(*)(void))dlsym(library, "GetPjrtApi");
  if (get == NULL) return fail(error, "it has no GetPjrtApi, so it is no plugin of PJRT");
  const Interface *interface = get();
  if (interface == NULL || interface->version.major != 0 || interface->head.size < sizeof(Interface)) {
    char text[128];
    snprintf(text, sizeof text, "its interface has the version %d.%d, and 0.90 or a later 0 is needed",
             interface == NULL ? -1 : interface->version.major, interface == NULL ? -1 : interface->version.minor);
    return fail(error, text);
  }
  ARGUMENTS(Object, initialize);
  initialize.head.size = sizeof(Head);
  return call(interface, pluginInitialize, &initialize, error) ? interface : NULL;
}

CPClient *cpOpen(const char *path, CPError *error) {
  const Interface *interface = load(path, error);
  if (interface == NULL) return NULL;
  ARGUMENTS(ClientCreate, create);
  if (!call(interface, clientCreate, &create, error)) return NULL;
  ARGUMENTS(ClientAddressableDevices, devices);
  devices.client = create.client;
  if (!call(interface, clientAddressableDevices, &devices, error)) return NULL;
  if (devices.count == 0) return fail(error, "it has no device");
  CPClient *client = malloc(sizeof *client);
  if (client == NULL) return fail(error, "no memory");
  *client = (CPClient){interface, create.client, devices.devices, devices.count};
  return client;
}

int cpMinorVersion(const CPClient *client) { return client->interface->version.minor; }

static int text(const Interface *interface, int function, void *object, char result[256], CPError *error) {
  ARGUMENTS(Text, arguments);
  arguments.object = object;
  if (!call(interface, function, &arguments, error)) return 0;
  snprintf(result, 256, "%.*s", (int)(arguments.length < 255 ? arguments.length : 255), arguments.text);
  return 1;
}

int cpPlatform(CPClient *client, char name[256], char version[256], CPError *error) {
  return text(client->interface, clientPlatformName, client->client, name, error) &&
      text(client->interface, clientPlatformVersion, client->client, version, error);
}

int cpDeviceCount(const CPClient *client) { return (int)client->deviceCount; }

int cpDevice(CPClient *client, int device, char kind[256], int64_t *memory, CPError *error) {
  ARGUMENTS(Related, description);
  description.object = client->devices[device];
  if (!call(client->interface, deviceGetDescription, &description, error)) return 0;
  if (!text(client->interface, deviceDescriptionKind, description.result, kind, error)) return 0;
  // Plugins for processors do not have this one.
  CPError ignored;
  ARGUMENTS(DeviceMemoryStats, stats);
  stats.device = client->devices[device];
  int isKnown = call(client->interface, deviceMemoryStats, &stats, &ignored) && stats.bytesLimit.isSet;
  *memory = isKnown ? stats.bytesLimit.value : 0;
  return 1;
}

static CPExecutable *wrap(const Interface *interface, void *executable, CPError *error) {
  CPExecutable *result = malloc(sizeof *result);
  if (result == NULL) return fail(error, "no memory");
  *result = (CPExecutable){interface, executable};
  return result;
}

static Source stableHLO(const char *text, size_t byteCount) {
  ARGUMENTS(Source, source);
  source.code = text;
  source.codeSize = byteCount;
  source.format = "mlir";
  source.formatSize = 4;
  return source;
}

CPExecutable *cpCompile(CPClient *client, const char *text, size_t byteCount, int replicas, CPError *error) {
  Source source = stableHLO(text, byteCount);
  char options[sizeof compileOptions];
  memcpy(options, compileOptions, sizeof options);
  options[replicasPlace] = (char)replicas;
  ARGUMENTS(ClientCompile, arguments);
  arguments.client = client->client;
  arguments.source = &source;
  arguments.options = options;
  arguments.optionsSize = sizeof options;
  if (!call(client->interface, clientCompile, &arguments, error)) return NULL;
  return wrap(client->interface, arguments.executable, error);
}

/// The part of a program that does not belong to a device, which the caller frees. NULL after an error.
static void *unloaded(CPExecutable *executable, CPError *error) {
  ARGUMENTS(Related, arguments);
  arguments.object = executable->executable;
  return call(executable->interface, loadedExecutableGetExecutable, &arguments, error) ? arguments.result : NULL;
}

int cpSerialize(CPExecutable *executable, void *context, void (*write)(void *, const void *, size_t), CPError *error) {
  void *program = unloaded(executable, error);
  if (program == NULL) return 0;
  ARGUMENTS(ExecutableSerialize, arguments);
  arguments.executable = program;
  int isDone = call(executable->interface, executableSerialize, &arguments, error);
  if (isDone) {
    write(context, arguments.bytes, arguments.byteCount);
    arguments.freeSerialized(arguments.serialized);
  }
  release(executable->interface, executableDestroy, program);
  return isDone;
}

CPExecutable *cpLoad(CPClient *client, const void *bytes, size_t byteCount, CPError *error) {
  ARGUMENTS(ExecutableDeserializeAndLoad, arguments);
  arguments.client = client->client;
  arguments.bytes = bytes;
  arguments.byteCount = byteCount;
  if (!call(client->interface, executableDeserializeAndLoad, &arguments, error)) return NULL;
  return wrap(client->interface, arguments.executable, error);
}

static int temporaryBytes(const Interface *interface, void *program, int64_t *bytes, CPError *error) {
  ARGUMENTS(ExecutableGetCompiledMemoryStats, arguments);
  arguments.executable = program;
  if (!call(interface, executableGetCompiledMemoryStats, &arguments, error)) return 0;
  *bytes = arguments.temporaries;
  return 1;
}

int cpTemporaryBytes(CPExecutable *executable, int64_t *bytes, CPError *error) {
  void *program = unloaded(executable, error);
  if (program == NULL) return 0;
  int isDone = temporaryBytes(executable->interface, program, bytes, error);
  release(executable->interface, executableDestroy, program);
  return isDone;
}

// MARK: - Devices that are not there

static NamedText option(const char *name, const char *text) {
  ARGUMENTS(NamedText, option);
  option.name = name;
  option.nameLength = strlen(name);
  option.text = text;
  option.length = strlen(text);
  return option;
}

CPTarget *cpTarget(const char *path, const char *description, CPError *error) {
  const Interface *interface = load(path, error);
  if (interface == NULL) return NULL;
  const NamedText options[] = {option("target_config", description), option("topology", "1x1x1")};
  ARGUMENTS(TopologyCreate, arguments);
  arguments.name = "target";
  arguments.nameLength = strlen(arguments.name);
  arguments.options = options;
  arguments.optionCount = 2;
  if (!call(interface, topologyCreate, &arguments, error)) return NULL;
  CPTarget *target = malloc(sizeof *target);
  if (target == NULL) return fail(error, "no memory");
  *target = (CPTarget){interface, arguments.topology};
  return target;
}

int cpTargetVersion(CPTarget *target, char version[256], CPError *error) {
  return text(target->interface, topologyPlatformVersion, target->topology, version, error);
}

int cpCompileForTarget(CPTarget *target, const char *text, size_t byteCount, int64_t *temporaries, CPError *error) {
  // As `compileOptions`, and an entry of field 7, env_option_overrides: without a device no kernels can be tried on it.
  static const char name[] = "xla_gpu_autotune_level";
  enum { length = sizeof name - 1 };
  char options[sizeof compileOptions + length + 8];
  memcpy(options, compileOptions, sizeof compileOptions);
  char *entry = options + sizeof compileOptions;
  const char before[] = {0x3A, length + 6, 0x0A, length}, after[] = {0x12, 0x02, 0x18, 0x00};
  memcpy(entry, before, sizeof before);
  memcpy(entry + sizeof before, name, length);
  memcpy(entry + sizeof before + length, after, sizeof after);

  Source source = stableHLO(text, byteCount);
  ARGUMENTS(Compile, arguments);
  arguments.topology = target->topology;
  arguments.source = &source;
  arguments.options = options;
  arguments.optionsSize = sizeof options;
  if (!call(target->interface, compile, &arguments, error)) return 0;
  int isDone = temporaryBytes(target->interface, arguments.executable, temporaries, error);
  release(target->interface, executableDestroy, arguments.executable);
  return isDone;
}

void cpFreeExecutable(CPExecutable *executable) {
  release(executable->interface, loadedExecutableDestroy, executable->executable);
  free(executable);
}

CPBuffer *cpUpload(CPClient *client, int device, const void *data, int type, const int64_t *shape, size_t axes,
                   CPError *error) {
  ARGUMENTS(ClientBufferFromHostBuffer, arguments);
  arguments.client = client->client;
  arguments.data = data;
  arguments.type = type;
  arguments.shape = shape;
  arguments.axes = axes;
  arguments.device = client->devices[device];
  if (!call(client->interface, clientBufferFromHostBuffer, &arguments, error)) return NULL;
  if (!await(client->interface, arguments.event, error)) {
    release(client->interface, bufferDestroy, arguments.buffer);
    return NULL;
  }
  return arguments.buffer;
}

int cpDownload(CPClient *client, CPBuffer *buffer, void *data, size_t byteCount, CPError *error) {
  ARGUMENTS(BufferToHostBuffer, arguments);
  arguments.buffer = buffer;
  arguments.data = data;
  arguments.byteCount = byteCount;
  return call(client->interface, bufferToHostBuffer, &arguments, error) &&
      await(client->interface, arguments.event, error);
}

void cpFreeBuffer(CPClient *client, CPBuffer *buffer) { release(client->interface, bufferDestroy, buffer); }

int cpRun(CPExecutable *executable, int replicas, CPBuffer *const *inputs, size_t inputCount, CPBuffer **outputs,
          size_t outputCount, CPError *error) {
  ARGUMENTS(ExecuteOptions, options);
  ARGUMENTS(LoadedExecutableExecute, arguments);
  void *const *inputLists[cpMostReplicas];
  void **outputLists[cpMostReplicas];
  void *events[cpMostReplicas] = {NULL};
  for (int replica = 0; replica < replicas; replica++) {
    inputLists[replica] = (void *const *)inputs + replica * inputCount;
    outputLists[replica] = (void **)outputs + replica * outputCount;
  }
  arguments.executable = executable->executable;
  arguments.options = &options;
  arguments.inputs = inputLists;
  arguments.deviceCount = (size_t)replicas;
  arguments.inputCount = inputCount;
  arguments.outputs = outputLists;
  arguments.events = events;
  int isDone = call(executable->interface, loadedExecutableExecute, &arguments, error);
  // All of them, whatever becomes of one.
  for (int replica = 0; replica < replicas; replica++)
    if (!await(executable->interface, events[replica], error)) isDone = 0;
  return isDone;
}
