#define _GNU_SOURCE
#include "COneDNN.h"

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct CDProduct {
  dnnl_primitive_t primitive;
  dnnl_stream_t stream;
  dnnl_memory_t a, b, c;
};

static dnnl_status_t sharedEngine(dnnl_engine_t *engine) {
  static dnnl_engine_t shared = NULL;
  dnnl_engine_t known = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
  if (!known) {
    dnnl_engine_t made = NULL;
    dnnl_status_t status = dnnl_engine_create(&made, dnnl_cpu, 0);
    if (status != dnnl_success) return status;
    if (__atomic_compare_exchange_n(&shared, &known, made, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      known = made;
    } else {
      dnnl_engine_destroy(made);
    }
  }
  *engine = known;
  return dnnl_success;
}

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t Descriptor;
#else
typedef dnnl_memory_desc_t *Descriptor;
#endif

static dnnl_status_t makeDescriptor(Descriptor *descriptor, int64_t rows, int64_t columns, CDMatrix matrix) {
  dnnl_dims_t sizes = {rows, columns};
  dnnl_dims_t strides = {matrix.rowStride, matrix.columnStride};
  dnnl_data_type_t type = matrix.type == CDBFloat16 ? dnnl_bf16 : dnnl_f32;
#if DNNL_VERSION_MAJOR >= 3
  return dnnl_memory_desc_create_with_strides(descriptor, 2, sizes, type, strides);
#else
  *descriptor = malloc(sizeof **descriptor);
  if (!*descriptor) return dnnl_out_of_memory;
  return dnnl_memory_desc_init_by_strides(*descriptor, 2, sizes, type, strides);
#endif
}

static void freeDescriptor(Descriptor descriptor) {
#if DNNL_VERSION_MAJOR >= 3
  if (descriptor) dnnl_memory_desc_destroy(descriptor);
#else
  free(descriptor);
#endif
}

static dnnl_status_t makePrimitive(
    dnnl_primitive_t *primitive, dnnl_engine_t engine, Descriptor a, Descriptor b, Descriptor c, int accumulates) {
  dnnl_primitive_attr_t attributes = NULL;
  dnnl_post_ops_t operations = NULL;
  dnnl_primitive_desc_t description = NULL;
  dnnl_status_t status = dnnl_primitive_attr_create(&attributes);
  if (status == dnnl_success && accumulates) {
    status = dnnl_post_ops_create(&operations);
#if DNNL_VERSION_MAJOR >= 3
    if (status == dnnl_success) status = dnnl_post_ops_append_sum(operations, 1.0f, 0, dnnl_data_type_undef);
#else
    if (status == dnnl_success) status = dnnl_post_ops_append_sum(operations, 1.0f);
#endif
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attributes, operations);
  }
  if (status == dnnl_success) {
#if DNNL_VERSION_MAJOR >= 3
    status = dnnl_matmul_primitive_desc_create(&description, engine, a, b, NULL, c, attributes);
#else
    dnnl_matmul_desc_t operation;
    status = dnnl_matmul_desc_init(&operation, a, b, NULL, c);
    if (status == dnnl_success)
      status = dnnl_primitive_desc_create(&description, &operation, attributes, engine, NULL);
#endif
  }
  if (status == dnnl_success) status = dnnl_primitive_create(primitive, description);
  if (description) dnnl_primitive_desc_destroy(description);
  if (operations) dnnl_post_ops_destroy(operations);
  if (attributes) dnnl_primitive_attr_destroy(attributes);
  return status;
}

CDProduct *cdProductCreate(
    int64_t rows, int64_t inner, int64_t columns, CDMatrix a, CDMatrix b, CDMatrix c, int accumulates, int *status) {
  dnnl_engine_t engine = NULL;
  Descriptor descriptorA = NULL, descriptorB = NULL, descriptorC = NULL;
  CDProduct *product = calloc(1, sizeof *product);
  *status = product ? sharedEngine(&engine) : dnnl_out_of_memory;
  if (!*status) *status = makeDescriptor(&descriptorA, rows, inner, a);
  if (!*status) *status = makeDescriptor(&descriptorB, inner, columns, b);
  if (!*status) *status = makeDescriptor(&descriptorC, rows, columns, c);
  if (!*status) *status = makePrimitive(&product->primitive, engine, descriptorA, descriptorB, descriptorC, accumulates);
  if (!*status) *status = dnnl_stream_create(&product->stream, engine, dnnl_stream_default_flags);
  if (!*status) *status = dnnl_memory_create(&product->a, descriptorA, engine, DNNL_MEMORY_NONE);
  if (!*status) *status = dnnl_memory_create(&product->b, descriptorB, engine, DNNL_MEMORY_NONE);
  if (!*status) *status = dnnl_memory_create(&product->c, descriptorC, engine, DNNL_MEMORY_NONE);
  freeDescriptor(descriptorA);
  freeDescriptor(descriptorB);
  freeDescriptor(descriptorC);
  if (*status) {
    cdProductDestroy(product);
    return NULL;
  }
  return product;
}

// Signals that the thread itself raises, by an error in its code, are left alone: they cannot wait.
static void holdSignals(sigset_t *before) {
  const int raisedByCode[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
  sigset_t held;
  sigfillset(&held);
  for (size_t index = 0; index < sizeof raisedByCode / sizeof *raisedByCode; index++) {
    sigdelset(&held, raisedByCode[index]);
  }
  pthread_sigmask(SIG_BLOCK, &held, before);
}

int cdProductRun(CDProduct *product, const void *a, const void *b, void *c) {
  dnnl_memory_set_data_handle(product->a, (void *)a);
  dnnl_memory_set_data_handle(product->b, (void *)b);
  dnnl_memory_set_data_handle(product->c, c);
  dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_SRC, product->a}, {DNNL_ARG_WEIGHTS, product->b}, {DNNL_ARG_DST, product->c}};
  // The fp32 kernels use the stack pointer as a register that points into the heap (oneDNN,
  // jit_avx512_common_gemm_f32.cpp: "mov(rsp, ARG_WS)"). A signal would write its frame over what lies before that block;
  // it waits the milliseconds until the product is done, or goes to another thread.
  sigset_t before;
  holdSignals(&before);
  dnnl_status_t status = dnnl_primitive_execute(product->primitive, product->stream, 3, arguments);
  if (!status) status = dnnl_stream_wait(product->stream);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return (int)status;
}

void cdProductDestroy(CDProduct *product) {
  if (!product) return;
  if (product->a) dnnl_memory_destroy(product->a);
  if (product->b) dnnl_memory_destroy(product->b);
  if (product->c) dnnl_memory_destroy(product->c);
  if (product->stream) dnnl_stream_destroy(product->stream);
  if (product->primitive) dnnl_primitive_destroy(product->primitive);
  free(product);
}

void cdUseOneThread(void) {
  // oneDNN brings its own OpenMP library, or none: it is asked for by name instead of being linked.
  void (*setThreads)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "omp_set_num_threads");
  if (setThreads) setThreads(1);
}

int cdVersion(void) {
  const dnnl_version_t *version = dnnl_version();
  return version->major * 10000 + version->minor * 100 + version->patch;
}
