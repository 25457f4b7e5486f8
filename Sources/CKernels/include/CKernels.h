#pragma once

// Words that Swift lacks for sixteen floats at a time: masked loads and stores, widening and narrowing of bfloat16,
// selection and square root. In Swift 6.3 the same steps (`SIMD16<UInt32>(truncatingIfNeeded:)`, `replacing(with:where:)`,
// `squareRoot()`) call out, or take lanes apart, and cost five to forty times as much. Each function is one or two
// instructions with AVX-512; elsewhere the compiler chooses.

#include <stdint.h>
#include <string.h>

#include "QuantizedProduct.h"
#include "TileProduct.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define CKERNELS_AVX512 1
#endif

#define CKERNELS_INLINE static inline __attribute__((always_inline))

typedef float CKFloat16 __attribute__((ext_vector_type(16)));
typedef uint32_t CKUInt32x16 __attribute__((ext_vector_type(16)));
typedef uint16_t CKUInt16x16 __attribute__((ext_vector_type(16)));

/// Whether products of bfloat16 are one instruction here, as those of floats are.
CKERNELS_INLINE _Bool ckMultipliesBFloat16(void) {
#if CKERNELS_AVX512 && defined(__AVX512BF16__)
  return 1;
#else
  return 0;
#endif
}

/// The first `lanes` (0 to 16) floats at `source`, zero beyond; memory beyond them is not touched.
CKERNELS_INLINE CKFloat16 ckLoadFloats(const void *_Nonnull source, intptr_t lanes) {
#if CKERNELS_AVX512
  return (CKFloat16)_mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), source);
#else
  CKFloat16 value = 0;
  memcpy(&value, source, (size_t)lanes * sizeof(float));
  return value;
#endif
}

/// Writes the first `lanes` (0 to 16) floats and nothing beyond them.
CKERNELS_INLINE void ckStoreFloats(CKFloat16 value, void *_Nonnull target, intptr_t lanes) {
#if CKERNELS_AVX512
  _mm512_mask_storeu_ps(target, (__mmask16)((1u << lanes) - 1), (__m512)value);
#else
  memcpy(target, &value, (size_t)lanes * sizeof(float));
#endif
}

/// As `ckLoadFloats`, for 16-bit values.
CKERNELS_INLINE CKUInt16x16 ckLoadHalves(const void *_Nonnull source, intptr_t lanes) {
#if CKERNELS_AVX512
  return (CKUInt16x16)_mm256_maskz_loadu_epi16((__mmask16)((1u << lanes) - 1), source);
#else
  CKUInt16x16 value = 0;
  memcpy(&value, source, (size_t)lanes * sizeof(uint16_t));
  return value;
#endif
}

/// As `ckStoreFloats`, for 16-bit values.
CKERNELS_INLINE void ckStoreHalves(CKUInt16x16 value, void *_Nonnull target, intptr_t lanes) {
#if CKERNELS_AVX512
  _mm256_mask_storeu_epi16(target, (__mmask16)((1u << lanes) - 1), (__m256i)value);
#else
  memcpy(target, &value, (size_t)lanes * sizeof(uint16_t));
#endif
}

/// The floats whose upper halves are given: bfloat16 to float, exactly.
CKERNELS_INLINE CKFloat16 ckFloatsFromBFloat16(CKUInt16x16 bits) {
  return (CKFloat16)(__builtin_convertvector(bits, CKUInt32x16) << 16);
}

/// The bfloat16 nearest to each float, ties to even; a NaN stays a quiet NaN.
/// Where the processor has the instruction, floats below 1.2e-38 (subnormal) become zero.
CKERNELS_INLINE CKUInt16x16 ckBFloat16FromFloats(CKFloat16 value) {
#if CKERNELS_AVX512 && defined(__AVX512BF16__)
  return (CKUInt16x16)_mm512_cvtneps_pbh((__m512)value);
#else
  // Adding 0x7FFF and the lowest kept bit carries into the kept half exactly when the dropped half rounds up.
  CKUInt32x16 bits = (CKUInt32x16)value;
  CKUInt32x16 rounded = bits + 0x7FFF + ((bits >> 16) & 1);
  CKUInt32x16 isNaN = (CKUInt32x16)(value != value);
  return __builtin_convertvector(((rounded & ~isNaN) | ((bits | 0x400000) & isNaN)) >> 16, CKUInt16x16);
#endif
}

/// Each lane held within lowest...highest; NaN stays NaN.
CKERNELS_INLINE CKFloat16 ckClamp(CKFloat16 value, float lowest, float highest) {
  CKFloat16 low = lowest, high = highest;
  value = value < low ? low : value;
  return value > high ? high : value;
}

/// Zero in each lane where `x` is below `threshold`, `value` elsewhere.
CKERNELS_INLINE CKFloat16 ckZeroWhereBelow(CKFloat16 value, CKFloat16 x, float threshold) {
  CKFloat16 zero = 0, limit = threshold;
  return x < limit ? zero : value;
}

/// The larger of each pair of lanes; where either is NaN, `right`.
CKERNELS_INLINE CKFloat16 ckMaximum(CKFloat16 left, CKFloat16 right) {
  return left > right ? left : right;
}

/// The square root of each lane.
CKERNELS_INLINE CKFloat16 ckSquareRoot(CKFloat16 value) {
  return __builtin_elementwise_sqrt(value);
}

/// The first `lanes` (0 to 16) floats at `source`, `filler` beyond; memory beyond them is not touched.
CKERNELS_INLINE CKFloat16 ckLoadFloatsOr(const void *_Nonnull source, intptr_t lanes, float filler) {
  CKFloat16 value = filler;
#if CKERNELS_AVX512
  return (CKFloat16)_mm512_mask_loadu_ps((__m512)value, (__mmask16)((1u << lanes) - 1), source);
#else
  memcpy(&value, source, (size_t)lanes * sizeof(float));
  return value;
#endif
}

/// `value` · 2^`exponent` for whole exponents up to 128; infinity and zero beyond the range of Float.
CKERNELS_INLINE CKFloat16 ckScaleByPowerOfTwo(CKFloat16 value, CKFloat16 exponent) {
#if CKERNELS_AVX512
  return (CKFloat16)_mm512_scalef_ps((__m512)value, (__m512)exponent);
#else
  // Two factors, since 2^128 and 2^-127 and beyond are no normal floats.
  typedef int32_t Int32x16 __attribute__((ext_vector_type(16)));
  // (Written out: C refuses to hand such vectors from function to function where no register holds them.)
  CKFloat16 low = -252, high = 252;
  // (A NaN becomes the lowest, as its conversion is undefined; the value is NaN then, and stays so.)
  exponent = exponent > low ? exponent : low;
  exponent = exponent < high ? exponent : high;
  Int32x16 whole = __builtin_convertvector(exponent, Int32x16);
  Int32x16 half = whole >> 1;
  CKFloat16 first = (CKFloat16)((half + 127) << 23);
  CKFloat16 second = (CKFloat16)((whole - half + 127) << 23);
  return value * first * second;
#endif
}

/// The sum of the lanes, halves added to halves: the same order on every machine.
CKERNELS_INLINE float ckSum(CKFloat16 value) {
  typedef float Float8 __attribute__((ext_vector_type(8)));
  typedef float Float4 __attribute__((ext_vector_type(4)));
  Float8 eight = value.lo + value.hi;
  Float4 four = eight.lo + eight.hi;
  return (four.x + four.z) + (four.y + four.w);
}

/// The largest lane; NaN lanes are passed over.
CKERNELS_INLINE float ckLargest(CKFloat16 value) {
  return __builtin_reduce_max(value);
}

/// The nearest whole number in each lane, ties to even; beyond ±2²², something as near as Float has.
CKERNELS_INLINE CKFloat16 ckRound(CKFloat16 value) {
#if CKERNELS_AVX512
  return __builtin_elementwise_roundeven(value);
#else
  return (value + 0x1.8p23f) - 0x1.8p23f;
#endif
}

/// Each lane of `low` in the lower half of a unit of four bytes, and of `high` in the upper half.
CKERNELS_INLINE CKUInt32x16 ckInterleave(CKUInt16x16 low, CKUInt16x16 high) {
  return __builtin_convertvector(low, CKUInt32x16) | __builtin_convertvector(high, CKUInt32x16) << 16;
}

/// Asks for the cache lines of `rows` rows of `byteCount` bytes, `stride` bytes apart, to be read or written soon.
CKERNELS_INLINE void ckPrefetch(
    const void *_Nonnull source, intptr_t stride, intptr_t rows, intptr_t byteCount, _Bool forWriting) {
  for (intptr_t row = 0; row < rows; row++) {
    const char *start = (const char *)source + row * stride;
    for (intptr_t byte = 0; byte < byteCount + 63; byte += 64) {
      // The last step asks for the line of the last byte, wherever the row begins within a line.
      const char *address = start + (byte < byteCount ? byte : byteCount - 1);
      if (forWriting) __builtin_prefetch(address, 1);
      else __builtin_prefetch(address, 0);
    }
  }
}

/// The vector instructions that this build was made for, as "AVX-512 with bf16".
const char *_Nonnull ckInstructions(void);
