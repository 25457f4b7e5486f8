#include "CKernels.h"

// Without AVX-512, vectors of 64 bytes pass between functions in another way than with it. All functions here that take
// them are inlined.
#pragma clang diagnostic ignored "-Wpsabi"

/// sum += a·b for sixteen lanes: one number with each, or a pair of bfloat16 with each pair.
CKERNELS_INLINE CKFloat16 addProduct(bool isBFloat16, CKFloat16 sum, uint32_t a, CKUInt32x16 b) {
  CKUInt32x16 left = a;
  if (!isBFloat16) return sum + (CKFloat16)left * (CKFloat16)b;
#if CKERNELS_AVX512 && defined(__AVX512BF16__)
  return (CKFloat16)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)b);
#else
  sum += (CKFloat16)(left & 0xFFFF0000) * (CKFloat16)(b & 0xFFFF0000);
  return sum + (CKFloat16)(left << 16) * (CKFloat16)(b << 16);
#endif
}

CKERNELS_INLINE uint32_t unitAt(const char *_Nonnull address) {
  uint32_t value;
  memcpy(&value, address, sizeof value);
  return value;
}

CKERNELS_INLINE CKUInt32x16 unitsAt(const void *_Nonnull address) {
  CKUInt32x16 value;
  memcpy(&value, address, sizeof value);
  return value;
}

// The sums of a tile, and a few operands, have to fit the registers: 32 of a vector each with AVX-512, else 16 or 32 of
// a quarter of one. A wide tile is quick with AVX-512; elsewhere many rows go before many vectors, and a tile of few
// rows takes more vectors, so that its sums need not wait for one another (one row is half again as fast).
#define MAXIMUM_VECTORS 4
#if CKERNELS_AVX512
#define MAXIMUM_ROWS 8
#define MAXIMUM_SUMS(isBFloat16) 24
#define VECTORS_AT_ONCE(isBFloat16, rows) MAXIMUM_VECTORS
#elif defined(__AVX2__)
// Pairs of bfloat16 are taken apart here, which needs registers of its own.
#define MAXIMUM_ROWS 6
#define MAXIMUM_SUMS(isBFloat16) ((isBFloat16) ? 4 : 6)
#else
#define MAXIMUM_ROWS 3
#define MAXIMUM_SUMS(isBFloat16) 3
#endif
#ifndef VECTORS_AT_ONCE
#define VECTORS_AT_ONCE(isBFloat16, rows) \
  ((rows) == 1 ? (MAXIMUM_SUMS(isBFloat16) < MAXIMUM_VECTORS ? MAXIMUM_SUMS(isBFloat16) : MAXIMUM_VECTORS) \
   : (rows) == 2 && MAXIMUM_SUMS(isBFloat16) >= 4 ? 2 : 1)
#endif

// The sums of a whole tile stay in registers while the depth runs through: at each step `vectors` registers of b meet
// `rows` numbers of a, so a load feeds several multiplications, and there are enough independent sums to keep both
// multipliers busy through their latency. With `rows` and `vectors` constant the loops over them unroll.
CKERNELS_INLINE void tile(
    bool isBFloat16, intptr_t rows, intptr_t vectors, intptr_t depth, const char *_Nonnull a, intptr_t aStride,
    const uint32_t *_Nonnull b, intptr_t bStride, intptr_t bVectorStride, float *_Nonnull c, intptr_t cStride,
    bool accumulates) {
  CKFloat16 sums[MAXIMUM_ROWS][MAXIMUM_VECTORS];
#pragma clang loop unroll(full)
  for (intptr_t row = 0; row < rows; row++) {
#pragma clang loop unroll(full)
    for (intptr_t vector = 0; vector < vectors; vector++) {
      if (accumulates) memcpy(&sums[row][vector], c + row * cStride + 16 * vector, sizeof(CKFloat16));
      else sums[row][vector] = 0;
    }
  }
  for (intptr_t index = 0; index < depth; index++) {
    CKUInt32x16 right[MAXIMUM_VECTORS];
#pragma clang loop unroll(full)
    for (intptr_t vector = 0; vector < vectors; vector++) {
      right[vector] = unitsAt(b + index * bStride + vector * bVectorStride);
    }
#pragma clang loop unroll(full)
    for (intptr_t row = 0; row < rows; row++) {
      uint32_t left = unitAt(a + row * aStride + 4 * index);
#pragma clang loop unroll(full)
      for (intptr_t vector = 0; vector < vectors; vector++) {
        sums[row][vector] = addProduct(isBFloat16, sums[row][vector], left, right[vector]);
      }
    }
  }
#pragma clang loop unroll(full)
  for (intptr_t row = 0; row < rows; row++) {
#pragma clang loop unroll(full)
    for (intptr_t vector = 0; vector < vectors; vector++) {
      memcpy(c + row * cStride + 16 * vector, &sums[row][vector], sizeof(CKFloat16));
    }
  }
}

/// The rows in chunks as equal as can be, each with its own unrolled code.
CKERNELS_INLINE void column(
    bool isBFloat16, intptr_t vectors, intptr_t rows, intptr_t depth, const char *_Nonnull a, intptr_t aStride,
    const uint32_t *_Nonnull b, intptr_t bStride, intptr_t bVectorStride, float *_Nonnull c, intptr_t cStride,
    bool accumulates) {
  const intptr_t sums = MAXIMUM_SUMS(isBFloat16) / vectors;
  const intptr_t most = sums < MAXIMUM_ROWS ? sums : MAXIMUM_ROWS;
  for (intptr_t chunks = (rows + most - 1) / most; chunks > 0; chunks--) {
    intptr_t count = (rows + chunks - 1) / chunks;
    switch (count) {
#define CASE(n) \
  case n: \
    if (n <= most) { \
      tile(isBFloat16, n, vectors, depth, a, aStride, b, bStride, bVectorStride, c, cStride, accumulates); \
    } \
    break;
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
    }
    rows -= count;
    a += count * aStride;
    c += count * cStride;
  }
}

/// The columns in chunks of as many vectors as a tile may have.
CKERNELS_INLINE void product(
    bool isBFloat16, intptr_t rows, intptr_t depth, intptr_t vectors, const char *_Nonnull a, intptr_t aStride,
    const uint32_t *_Nonnull b, intptr_t bStride, intptr_t bVectorStride, float *_Nonnull c, intptr_t cStride,
    bool accumulates) {
  const intptr_t most = VECTORS_AT_ONCE(isBFloat16, rows);
  for (intptr_t chunks = (vectors + most - 1) / most; chunks > 0; chunks--) {
    intptr_t count = (vectors + chunks - 1) / chunks;
    switch (count) {
#define CASE(n) \
  case n: \
    if (n <= MAXIMUM_VECTORS) { \
      column(isBFloat16, n, rows, depth, a, aStride, b, bStride, bVectorStride, c, cStride, accumulates); \
    } \
    break;
      CASE(1) CASE(2) CASE(3) CASE(4)
#undef CASE
    }
    vectors -= count;
    b += bVectorStride * count;
    c += 16 * count;
  }
}

void ckTileProduct(
    bool isBFloat16, intptr_t rows, intptr_t depth, intptr_t vectors, const void *_Nonnull a, intptr_t aStride,
    const void *_Nonnull b, intptr_t bStride, float *_Nonnull c, intptr_t cStride, bool accumulates) {
  if (isBFloat16) product(true, rows, depth, vectors, a, aStride, b, bStride, 16, c, cStride, accumulates);
  else product(false, rows, depth, vectors, a, aStride, b, bStride, 16, c, cStride, accumulates);
}

void ckPackedProduct(
    bool isBFloat16, intptr_t rows, intptr_t depth, intptr_t vectors, const void *_Nonnull a, intptr_t aStride,
    const void *_Nonnull b, float *_Nonnull c, intptr_t cStride, bool accumulates) {
  if (isBFloat16) product(true, rows, depth, vectors, a, aStride, b, 16, 16 * depth, c, cStride, accumulates);
  else product(false, rows, depth, vectors, a, aStride, b, 16, 16 * depth, c, cStride, accumulates);
}

/// Sixteen rows of sixteen units, transposed: rows i and i + 8 are interleaved into rows 2i and 2i + 1, four times.
CKERNELS_INLINE void transposeSquare(CKUInt32x16 rows[_Nonnull 16]) {
#pragma clang loop unroll(full)
  for (int round = 0; round < 4; round++) {
    CKUInt32x16 next[16];
#pragma clang loop unroll(full)
    for (int index = 0; index < 8; index++) {
      next[2 * index] = __builtin_shufflevector(
          rows[index], rows[index + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      next[2 * index + 1] = __builtin_shufflevector(
          rows[index], rows[index + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
#pragma clang loop unroll(full)
    for (int index = 0; index < 16; index++) rows[index] = next[index];
  }
}

/// A square of at most sixteen rows and columns; with both constant it has no branches.
CKERNELS_INLINE void transposeCorner(
    const char *_Nonnull source, intptr_t sourceStride, intptr_t rows, intptr_t columns, char *_Nonnull target,
    intptr_t targetStride) {
  CKUInt32x16 square[16];
#pragma clang loop unroll(full)
  for (intptr_t index = 0; index < 16; index++) {
    square[index] =
        index < rows ? (CKUInt32x16)ckLoadFloats(source + index * sourceStride, columns) : (CKUInt32x16)0;
  }
  transposeSquare(square);
#pragma clang loop unroll(full)
  for (intptr_t index = 0; index < 16; index++) {
    if (index < columns) memcpy(target + 4 * index * targetStride, &square[index], sizeof square[index]);
  }
}

void ckTranspose(
    const void *_Nonnull source, intptr_t sourceStride, intptr_t rows, intptr_t columns, void *_Nonnull target,
    intptr_t targetStride) {
  for (intptr_t row = 0; row < rows; row += 16) {
    for (intptr_t column = 0; column < columns; column += 16) {
      const char *from = (const char *)source + row * sourceStride + 4 * column;
      char *to = (char *)target + 4 * (column * targetStride + row);
      const intptr_t height = rows - row, width = columns - column;
      if (height >= 16 && width >= 16) transposeCorner(from, sourceStride, 16, 16, to, targetStride);
      else transposeCorner(from, sourceStride, height, width < 16 ? width : 16, to, targetStride);
    }
  }
}

CKERNELS_INLINE CKUInt32x16 interleaved(
    bool isBFloat16, const char *_Nonnull source, intptr_t stride, intptr_t rows, intptr_t columns) {
  if (!isBFloat16) return rows > 0 ? (CKUInt32x16)ckLoadFloats(source, columns) : (CKUInt32x16)0;
  CKUInt16x16 low = rows > 0 ? ckLoadHalves(source, columns) : (CKUInt16x16)0;
  CKUInt16x16 high = rows > 1 ? ckLoadHalves(source + stride, columns) : (CKUInt16x16)0;
  return ckInterleave(low, high);
}

CKERNELS_INLINE void interleaveRows(
    bool isBFloat16, const char *_Nonnull source, intptr_t sourceStride, intptr_t rows, intptr_t columns,
    char *_Nonnull target, intptr_t targetStride, intptr_t paddedRows) {
  const intptr_t step = isBFloat16 ? 2 : 1, size = isBFloat16 ? 2 : 4;
  for (intptr_t row = 0; row < paddedRows; row += step) {
    for (intptr_t column = 0; column < columns; column += 16) {
      const intptr_t width = columns - column;
      const char *from = source + row * sourceStride + column * size;
      // Whole vectors of rows that exist, nearly all, go without masks.
      CKUInt32x16 units = width >= 16 && row + step <= rows
          ? interleaved(isBFloat16, from, sourceStride, step, 16)
          : interleaved(isBFloat16, from, sourceStride, rows - row, width < 16 ? width : 16);
      memcpy(target + 4 * (row / step * targetStride + column), &units, sizeof units);
    }
  }
}

void ckInterleaveRows(
    bool isBFloat16, const void *_Nonnull source, intptr_t sourceStride, intptr_t rows, intptr_t columns,
    void *_Nonnull target, intptr_t targetStride, intptr_t paddedRows) {
  if (isBFloat16) interleaveRows(true, source, sourceStride, rows, columns, target, targetStride, paddedRows);
  else interleaveRows(false, source, sourceStride, rows, columns, target, targetStride, paddedRows);
}

CKERNELS_INLINE void storeElements(bool isBFloat16, CKFloat16 value, char *_Nonnull target, intptr_t count) {
  if (isBFloat16) ckStoreHalves(ckBFloat16FromFloats(value), target, count);
  else ckStoreFloats(value, target, count);
}

CKERNELS_INLINE void scaleRows(
    bool isBFloat16, const float *_Nonnull source, intptr_t sourceStride, float factor, intptr_t rows, intptr_t columns,
    char *_Nonnull target, intptr_t targetStride) {
  const intptr_t size = isBFloat16 ? 2 : 4;
  for (intptr_t row = 0; row < rows; row++) {
    for (intptr_t column = 0; column < columns; column += 16) {
      const intptr_t width = columns - column;
      char *to = target + row * targetStride + column * size;
      CKFloat16 value;
      memcpy(&value, source + row * sourceStride + column, sizeof value);
      if (width >= 16) storeElements(isBFloat16, value * factor, to, 16);
      else storeElements(isBFloat16, value * factor, to, width);
    }
  }
}

void ckScaleRows(
    bool isBFloat16, const float *_Nonnull source, intptr_t sourceStride, float factor, intptr_t rows, intptr_t columns,
    void *_Nonnull target, intptr_t targetStride) {
  if (isBFloat16) scaleRows(true, source, sourceStride, factor, rows, columns, target, targetStride);
  else scaleRows(false, source, sourceStride, factor, rows, columns, target, targetStride);
}
