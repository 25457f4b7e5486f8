#include "CPJRT.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/// The functions of NVRTC, which give 0 or the number of an error. A program is one of its objects.
typedef struct {
  int (*create)(void **program, const char *source, const char *name, int headers, const char *const *texts,
                const char *const *names);
  int (*compile)(void *program, int options, const char *const *texts);
  int (*logSize)(void *program, size_t *size);
  int (*log)(void *program, char *text);
  int (*size)(void *program, size_t *size);
  int (*get)(void *program, char *text);
  int (*destroy)(void **program);
  const char *(*words)(int code);
} Compiler;

static void *fail(CPError *error, const char *message) {
  error->code = -1;
  strncpy(error->message, message == NULL ? "no reason is given" : message, sizeof error->message - 1);
  error->message[sizeof error->message - 1] = 0;
  return NULL;
}

static int load(const char *path, Compiler *compiler, CPError *error) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return fail(error, dlerror()) != NULL;
  static const char *const names[] = {
      "nvrtcCreateProgram", "nvrtcCompileProgram", "nvrtcGetProgramLogSize", "nvrtcGetProgramLog",
      "nvrtcGetPTXSize",    "nvrtcGetPTX",         "nvrtcDestroyProgram",    "nvrtcGetErrorString",
  };
  for (size_t place = 0; place < sizeof names / sizeof *names; place++) {
    void *function = dlsym(library, names[place]);
    if (function == NULL) return fail(error, dlerror()) != NULL;
    memcpy((char *)compiler + place * sizeof function, &function, sizeof function);
  }
  return 1;
}

/// What the compiler says of a program that it refuses.
static void *refuse(const Compiler *compiler, void *program, int code, CPError *error) {
  size_t size = 0;
  char *text = NULL;
  if (compiler->logSize(program, &size) == 0 && size > 1 && (text = malloc(size)) != NULL &&
      compiler->log(program, text) == 0)
    fail(error, text);
  else
    fail(error, compiler->words(code));
  free(text);
  return NULL;
}

char *cpCompileKernel(const char *path, const char *source, const char *const *options, int optionCount,
                      CPError *error) {
  Compiler compiler;
  if (!load(path, &compiler, error)) return NULL;
  void *program = NULL;
  int code = compiler.create(&program, source, "kernel.cu", 0, NULL, NULL);
  if (code != 0) return fail(error, compiler.words(code));
  size_t size = 0;
  char *text = NULL;
  code = compiler.compile(program, optionCount, options);
  if (code != 0)
    refuse(&compiler, program, code, error);
  else if (compiler.size(program, &size) != 0 || (text = malloc(size)) == NULL || compiler.get(program, text) != 0) {
    fail(error, "it gives no PTX");
    free(text);
    text = NULL;
  }
  compiler.destroy(&program);
  return text;
}

void cpFreeText(char *text) { free(text); }
