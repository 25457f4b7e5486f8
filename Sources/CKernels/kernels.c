#include "CKernels.h"

// All other functions are `static inline` in the header.

const char *ckInstructions(void) {
#if CKERNELS_AVX512 && defined(__AVX512BF16__)
  return "AVX-512 with bf16";
#elif CKERNELS_AVX512
  return "AVX-512";
#elif defined(__AVX2__) && defined(__FMA__)
  return "AVX2";
#elif defined(__x86_64__)
  return "SSE2, as every x86-64 has it";
#elif defined(__ARM_NEON)
  return "NEON";
#else
  return "none";
#endif
}
