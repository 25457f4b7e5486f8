#pragma once

#include <stdbool.h>
#include <stdint.h>

// Weights of eight or four bits. A block is 32 columns of one row with a scale of their own: w = scale · q with whole q in
// -128...127 or -8...7. The scale is bfloat16, and q is what fits the rounded scale best.
//
// A tile is sixteen rows, padded with zeros to whole blocks: first, for each block, the numbers of all rows, in the order
// in which one instruction takes four columns of sixteen rows; then, for each block, the sixteen scales. Eight bits:
// byte [block][column / 4][row][column % 4] is q + 128. Four bits: byte [block][column / 4][row][column % 4] is q + 8 of
// columns 0...15 in the lower half and of columns 16...31 in the upper one.

enum { CKBlockColumns = 32, CKTileRows = 16 };

/// Bytes of the numbers of one block of a tile.
static inline intptr_t ckBlockBytes(bool isFourBit) { return isFourBit ? 256 : 512; }

/// Bytes of a tile of `blocks` blocks a row, a multiple of 64.
static inline intptr_t ckTileBytes(bool isFourBit, intptr_t blocks) {
  return (blocks * (ckBlockBytes(isFourBit) + 2 * CKTileRows) + 63) / 64 * 64;
}

/// A block of activations: x = scale · value with whole values in -127...127.
typedef struct {
  int8_t values[CKBlockColumns];
  float scale;
  /// -128 or -8 times the sum of the values: what the weights' bytes, which are never negative, add too much. Zero for
  /// eight bits where the product takes the bytes with their sign (AVX2).
  int32_t offset;
} CKInputBlock;

/// A row of activations as blocks, zero beyond `columns`.
///
/// - isBFloat16: whether `source` holds bfloat16; else floats.
/// - isFourBit: of the weights that the row is to meet.
void ckQuantizeInput(
    bool isBFloat16, bool isFourBit, const void *_Nonnull source, intptr_t columns, CKInputBlock *_Nonnull target);

/// `rows` (1 to 16) rows of weights, `stride` floats apart, as a tile; zero beyond.
void ckQuantizeTile(
    bool isFourBit, const float *_Nonnull source, intptr_t stride, intptr_t rows, intptr_t columns,
    void *_Nonnull target);

/// The values of one row of a tile.
void ckDequantizeRow(
    bool isFourBit, const void *_Nonnull tile, intptr_t row, intptr_t columns, float *_Nonnull target);

/// C = X·Wᵀ, or C += X·Wᵀ: for each block the sum of whole products, exactly, times both scales; these in fp32, in the order
/// of the blocks, whatever the number of rows and tiles.
///
/// - input: [rows, blocks].
/// - weights: `tiles` tiles, `ckTileBytes` apart.
/// - c: [rows, 16·tiles], rows `cStride` floats apart; overwritten, or added to if `accumulates`.
void ckQuantizedProduct(
    bool isFourBit, intptr_t rows, intptr_t blocks, intptr_t tiles, const CKInputBlock *_Nonnull input,
    const void *_Nonnull weights, float *_Nonnull c, intptr_t cStride, bool accumulates);
