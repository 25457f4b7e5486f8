#include "CKernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

// As in tile_product.c: everything here that takes vectors is inlined.
#pragma clang diagnostic ignored "-Wpsabi"

typedef int32_t Int32x16 __attribute__((ext_vector_type(16)));
typedef int32_t Int32x8 __attribute__((ext_vector_type(8)));

#if defined(__AVX2__) && !(CKERNELS_AVX512 && defined(__AVX512VNNI__))
/// What a byte of an eight-bit weight holds too much when it meets the input.
#define BYTE_EXCESS 0
/// Eight sums of four weights times four signed bytes. The instruction wants unsigned bytes and adds two products up in
/// 16 bits, which holds those of weights of four bits as they are. Of eight bits it takes the size of each weight, at most 128,
/// and the sign goes to the input, at most 127: two products are 32512 at most.
CKERNELS_INLINE __m256i bytesTimes(bool isFourBit, __m256i lanes, __m256i bytes) {
  if (!isFourBit) {
    lanes = _mm256_xor_si256(lanes, _mm256_set1_epi8(-128));
    bytes = _mm256_sign_epi8(bytes, lanes);
    lanes = _mm256_abs_epi8(lanes);
  }
  return _mm256_madd_epi16(_mm256_maddubs_epi16(lanes, bytes), _mm256_set1_epi16(1));
}
#else
#define BYTE_EXCESS 128
#endif

/// sum += four weights of each lane times four signed bytes, the same ones for all lanes. `isFourBit`: the weights are bytes
/// of at most 15.
CKERNELS_INLINE Int32x16 addBytes(bool isFourBit, Int32x16 sum, CKUInt32x16 lanes, uint32_t bytes) {
#if CKERNELS_AVX512 && defined(__AVX512VNNI__)
  return (Int32x16)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)lanes, (__m512i)(CKUInt32x16)bytes);
#elif defined(__AVX2__)
  const __m256i spread = _mm256_set1_epi32((int)bytes);
  sum.lo += (Int32x8)bytesTimes(isFourBit, (__m256i)lanes.lo, spread);
  sum.hi += (Int32x8)bytesTimes(isFourBit, (__m256i)lanes.hi, spread);
  return sum;
#else
#pragma clang loop unroll(full)
  for (int shift = 0; shift < 32; shift += 8) {
    sum += (Int32x16)((lanes >> shift) & 255) * (int32_t)(int8_t)(bytes >> shift);
  }
  return sum;
#endif
}

CKERNELS_INLINE CKUInt32x16 lanesAt(const uint8_t *_Nonnull address) {
  CKUInt32x16 value;
  memcpy(&value, address, sizeof value);
  return value;
}

CKERNELS_INLINE uint32_t bytesAt(const int8_t *_Nonnull address) {
  uint32_t value;
  memcpy(&value, address, sizeof value);
  return value;
}

// Two sums for each row and tile, whole and fp32, and a few operands have to fit the registers: 32 of a vector each with
// AVX-512, else 16 or 32 of a quarter of one. For one row memory is the limit: tiles that are read side by side come faster
// than one after another, and faster still when the next ones have been asked for (together 1.2 to 1.4 times, weights
// beyond the cache).
#if CKERNELS_AVX512
#define TILES_OF_ONE_ROW 4
#define TILES_OF_ROWS 2
#define MAXIMUM_ROWS 6
#elif defined(__AVX2__)
#define TILES_OF_ONE_ROW 4
#define TILES_OF_ROWS 1
#define MAXIMUM_ROWS 3
#else
#define TILES_OF_ONE_ROW 1
#define TILES_OF_ROWS 1
#define MAXIMUM_ROWS 2
#endif
#define MAXIMUM_TILES TILES_OF_ONE_ROW

// A block's numbers meet those of all rows while they are in a register. With `rows` and `tiles` constant the loops over
// them unroll.
CKERNELS_INLINE void corner(
    bool isFourBit, intptr_t rows, intptr_t tiles, intptr_t blocks, const CKInputBlock *_Nonnull input,
    const uint8_t *_Nonnull weights, float *_Nonnull c, intptr_t cStride, bool accumulates) {
  const intptr_t tileBytes = ckTileBytes(isFourBit, blocks), blockBytes = ckBlockBytes(isFourBit);
  const uint8_t *scales = weights + blocks * blockBytes;
  CKFloat16 sums[MAXIMUM_TILES][MAXIMUM_ROWS];
#pragma clang loop unroll(full)
  for (intptr_t tile = 0; tile < tiles; tile++) {
#pragma clang loop unroll(full)
    for (intptr_t row = 0; row < rows; row++) sums[tile][row] = 0;
  }
  for (intptr_t block = 0; block < blocks; block++) {
    Int32x16 whole[MAXIMUM_TILES][MAXIMUM_ROWS];
#pragma clang loop unroll(full)
    for (intptr_t tile = 0; tile < tiles; tile++) {
#pragma clang loop unroll(full)
      for (intptr_t row = 0; row < rows; row++) whole[tile][row] = input[row * blocks + block].offset;
    }
#pragma clang loop unroll(full)
    for (intptr_t column = 0; column < (isFourBit ? 16 : 32); column += 4) {
      CKUInt32x16 low[MAXIMUM_TILES], high[MAXIMUM_TILES];
#pragma clang loop unroll(full)
      for (intptr_t tile = 0; tile < tiles; tile++) {
        const uint8_t *address = weights + tile * tileBytes + block * blockBytes + 16 * column;
        low[tile] = lanesAt(address);
        if (rows == 1) __builtin_prefetch(address + tiles * tileBytes, 0, 2);
        high[tile] = (low[tile] >> 4) & 0x0F0F0F0F;
        if (isFourBit) low[tile] &= 0x0F0F0F0F;
      }
#pragma clang loop unroll(full)
      for (intptr_t row = 0; row < rows; row++) {
        const int8_t *values = input[row * blocks + block].values + column;
#pragma clang loop unroll(full)
        for (intptr_t tile = 0; tile < tiles; tile++) {
          whole[tile][row] = addBytes(isFourBit, whole[tile][row], low[tile], bytesAt(values));
          if (isFourBit) whole[tile][row] = addBytes(isFourBit, whole[tile][row], high[tile], bytesAt(values + 16));
        }
      }
    }
#pragma clang loop unroll(full)
    for (intptr_t tile = 0; tile < tiles; tile++) {
      CKFloat16 scale = ckFloatsFromBFloat16(ckLoadHalves(scales + tile * tileBytes + 32 * block, 16));
#pragma clang loop unroll(full)
      for (intptr_t row = 0; row < rows; row++) {
        sums[tile][row] +=
            __builtin_convertvector(whole[tile][row], CKFloat16) * scale * input[row * blocks + block].scale;
      }
    }
  }
#pragma clang loop unroll(full)
  for (intptr_t row = 0; row < rows; row++) {
#pragma clang loop unroll(full)
    for (intptr_t tile = 0; tile < tiles; tile++) {
      float *target = c + row * cStride + 16 * tile;
      CKFloat16 before = 0;
      if (accumulates) memcpy(&before, target, sizeof before);
      before += sums[tile][row];
      memcpy(target, &before, sizeof before);
    }
  }
}

/// The rows in chunks as equal as can be, each with its own unrolled code.
CKERNELS_INLINE void column(
    bool isFourBit, intptr_t rows, intptr_t tiles, intptr_t blocks, const CKInputBlock *_Nonnull input,
    const uint8_t *_Nonnull weights, float *_Nonnull c, intptr_t cStride, bool accumulates) {
  for (intptr_t chunks = (rows + MAXIMUM_ROWS - 1) / MAXIMUM_ROWS; chunks > 0; chunks--) {
    intptr_t count = (rows + chunks - 1) / chunks;
    switch (count) {
#define CASE(n) \
  case n: \
    if (n == 1 || (n <= MAXIMUM_ROWS && tiles <= TILES_OF_ROWS)) { \
      corner(isFourBit, n, tiles, blocks, input, weights, c, cStride, accumulates); \
    } \
    break;
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
    }
    rows -= count;
    input += count * blocks;
    c += count * cStride;
  }
}

CKERNELS_INLINE void product(
    bool isFourBit, intptr_t rows, intptr_t blocks, intptr_t tiles, const CKInputBlock *_Nonnull input,
    const uint8_t *_Nonnull weights, float *_Nonnull c, intptr_t cStride, bool accumulates) {
  const intptr_t most = rows == 1 ? TILES_OF_ONE_ROW : TILES_OF_ROWS;
  while (tiles > 0) {
    const intptr_t count = tiles < most ? 1 : most;
    switch (count) {
#define CASE(n) \
  case n: \
    if (n <= MAXIMUM_TILES) column(isFourBit, rows, n, blocks, input, weights, c, cStride, accumulates); \
    break;
      CASE(1) CASE(2) CASE(4)
#undef CASE
    }
    tiles -= count;
    weights += count * ckTileBytes(isFourBit, blocks);
    c += 16 * count;
  }
}

void ckQuantizedProduct(
    bool isFourBit, intptr_t rows, intptr_t blocks, intptr_t tiles, const CKInputBlock *_Nonnull input,
    const void *_Nonnull weights, float *_Nonnull c, intptr_t cStride, bool accumulates) {
  if (isFourBit) product(true, rows, blocks, tiles, input, weights, c, cStride, accumulates);
  else product(false, rows, blocks, tiles, input, weights, c, cStride, accumulates);
}

/// The nearest whole numbers, held within lowest...highest.
CKERNELS_INLINE Int32x16 whole(CKFloat16 value, float lowest, float highest) {
  return __builtin_convertvector(ckRound(ckClamp(value, lowest, highest)), Int32x16);
}

typedef int8_t Int8x16 __attribute__((ext_vector_type(16)));

CKERNELS_INLINE void storeBytes(Int32x16 value, int8_t *_Nonnull target) {
  Int8x16 bytes = __builtin_convertvector(value, Int8x16);
  memcpy(target, &bytes, sizeof bytes);
}

CKERNELS_INLINE intptr_t lanesLeft(intptr_t columns, intptr_t start) {
  return columns - start < 0 ? 0 : columns - start < 16 ? columns - start : 16;
}

CKERNELS_INLINE CKFloat16 absolute(CKFloat16 value) { return (CKFloat16)((CKUInt32x16)value & 0x7FFFFFFF); }

CKERNELS_INLINE void quantizeInput(
    bool isBFloat16, int32_t excess, const char *_Nonnull source, intptr_t columns, CKInputBlock *_Nonnull target) {
  for (intptr_t start = 0; start < columns; start += CKBlockColumns, target++) {
    CKFloat16 values[2];
#pragma clang loop unroll(full)
    for (int half = 0; half < 2; half++) {
      const intptr_t column = start + 16 * half, lanes = lanesLeft(columns, column);
      values[half] = isBFloat16 ? ckFloatsFromBFloat16(ckLoadHalves(source + 2 * column, lanes))
                                : ckLoadFloats(source + 4 * column, lanes);
    }
    const float largest = ckLargest(ckMaximum(absolute(values[0]), absolute(values[1])));
    // Numbers so small that the inverse would overflow count as zero.
    const float inverse = largest > 1e-30f ? 127 / largest : 0;
    Int32x16 first = whole(values[0] * inverse, -127, 127), second = whole(values[1] * inverse, -127, 127);
    storeBytes(first, target->values);
    storeBytes(second, target->values + 16);
    target->scale = largest / 127;
    target->offset = -excess * __builtin_reduce_add(first + second);
  }
}

void ckQuantizeInput(
    bool isBFloat16, bool isFourBit, const void *_Nonnull source, intptr_t columns, CKInputBlock *_Nonnull target) {
  const int32_t excess = isFourBit ? 8 : BYTE_EXCESS;
  if (isBFloat16) quantizeInput(true, excess, source, columns, target);
  else quantizeInput(false, excess, source, columns, target);
}

/// The scale of a block, rounded to bfloat16: the number farthest from zero is at the end of the range. With four bits it is
/// at -8, as in GGML's q4_0: the range has one more number on that side.
CKERNELS_INLINE float blockScale(bool isFourBit, CKFloat16 first, CKFloat16 second) {
  const float largest = ckLargest(ckMaximum(absolute(first), absolute(second)));
  if (!isFourBit) return largest / 127;
  const float highest = ckLargest(ckMaximum(first, second));
  return highest == largest ? -largest / 8 : largest / 8;
}

void ckQuantizeTile(
    bool isFourBit, const float *_Nonnull source, intptr_t stride, intptr_t rows, intptr_t columns,
    void *_Nonnull target) {
  const intptr_t blocks = (columns + CKBlockColumns - 1) / CKBlockColumns;
  uint8_t *numbers = target, *scales = numbers + blocks * ckBlockBytes(isFourBit);
  const float lowest = isFourBit ? -8 : -128, highest = isFourBit ? 7 : 127;
  const uint8_t zero = isFourBit ? 8 : 128;
  for (intptr_t block = 0; block < blocks; block++) {
    for (intptr_t row = 0; row < CKTileRows; row++) {
      CKFloat16 values[2] = {0, 0};
      for (int half = 0; half < 2 && row < rows; half++) {
        const intptr_t column = CKBlockColumns * block + 16 * half;
        values[half] = ckLoadFloats(source + row * stride + column, lanesLeft(columns, column));
      }
      CKFloat16 scale = blockScale(isFourBit, values[0], values[1]);
      CKUInt16x16 rounded = ckBFloat16FromFloats(scale);
      memcpy(scales + 2 * (CKTileRows * block + row), &rounded, 2);
      const float divisor = ckFloatsFromBFloat16(rounded)[0];
      const float inverse = divisor > 1e-30f || divisor < -1e-30f ? 1 / divisor : 0;
      int8_t whole32[CKBlockColumns];
      storeBytes(whole(values[0] * inverse, lowest, highest), whole32);
      storeBytes(whole(values[1] * inverse, lowest, highest), whole32 + 16);
      for (int column = 0; column < (isFourBit ? 16 : 32); column++) {
        uint8_t *number = numbers + (block * (isFourBit ? 4 : 8) + column / 4) * 64 + row * 4 + column % 4;
        *number = (uint8_t)(whole32[column] + zero);
        if (isFourBit) *number |= (uint8_t)((whole32[column + 16] + zero) << 4);
      }
    }
  }
}

void ckDequantizeRow(
    bool isFourBit, const void *_Nonnull tile, intptr_t row, intptr_t columns, float *_Nonnull target) {
  const intptr_t blocks = (columns + CKBlockColumns - 1) / CKBlockColumns;
  const uint8_t *numbers = tile, *scales = numbers + blocks * ckBlockBytes(isFourBit);
  for (intptr_t column = 0; column < columns; column++) {
    const intptr_t block = column / CKBlockColumns, place = column % (isFourBit ? 16 : 32);
    const uint8_t number = numbers[(block * (isFourBit ? 4 : 8) + place / 4) * 64 + row * 4 + place % 4];
    uint16_t bits;
    memcpy(&bits, scales + 2 * (CKTileRows * block + row), 2);
    const uint32_t wide = (uint32_t)bits << 16;
    float scale;
    memcpy(&scale, &wide, 4);
    const int shift = isFourBit && column % CKBlockColumns >= 16 ? 4 : 0;
    target[column] = scale * (isFourBit ? ((number >> shift) & 15) - 8 : number - 128);
  }
}
