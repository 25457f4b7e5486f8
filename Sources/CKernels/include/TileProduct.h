#pragma once

#include <stdbool.h>
#include <stdint.h>

/// C = A·B, or C += A·B, for the small matrices inside attention: A is read number by number, B sixteen lanes at a time.
///
/// Everything is counted in units of four bytes: a unit is one float, or two bfloat16 side by side that multiply two
/// of the other side and add up. So both types have the same shapes and the same code.
///
/// - a: [rows, depth] units, rows `aStride` bytes apart, at any address.
/// - b: [depth, 16·vectors] units, rows `bStride` units apart.
/// - c: [rows, 16·vectors] floats, rows `cStride` floats apart; overwritten, or added to if `accumulates`.
void ckTileProduct(
    bool isBFloat16, intptr_t rows, intptr_t depth, intptr_t vectors, const void *_Nonnull a, intptr_t aStride,
    const void *_Nonnull b, intptr_t bStride, float *_Nonnull c, intptr_t cStride, bool accumulates);

/// The same where `b` is [vectors, depth, 16] units without gaps: weights, of which any sixteen columns lie together.
void ckPackedProduct(
    bool isBFloat16, intptr_t rows, intptr_t depth, intptr_t vectors, const void *_Nonnull a, intptr_t aStride,
    const void *_Nonnull b, float *_Nonnull c, intptr_t cStride, bool accumulates);

/// The transpose of a matrix of units of four bytes.
///
/// - source: [rows, columns], rows `sourceStride` bytes apart, at any address; nothing beyond it is read.
/// - target: [columns, rows rounded up to 16], rows `targetStride` units apart; zero beyond `rows`.
void ckTranspose(
    const void *_Nonnull source, intptr_t sourceStride, intptr_t rows, intptr_t columns, void *_Nonnull target,
    intptr_t targetStride);

/// Rows of elements as units: floats as they are, two rows of bfloat16 interleaved.
///
/// - source: [rows, columns] elements, rows `sourceStride` bytes apart, at any address; nothing beyond it is read.
/// - target: units of `paddedRows` rows, columns rounded up to 16, `targetStride` units apart; zero beyond the source.
void ckInterleaveRows(
    bool isBFloat16, const void *_Nonnull source, intptr_t sourceStride, intptr_t rows, intptr_t columns,
    void *_Nonnull target, intptr_t targetStride, intptr_t paddedRows);

/// Rows of floats times a factor, as elements.
///
/// - source: [rows, columns rounded up to 16], rows `sourceStride` floats apart.
/// - target: [rows, columns] elements, rows `targetStride` bytes apart, at any address; nothing beyond it is written.
void ckScaleRows(
    bool isBFloat16, const float *_Nonnull source, intptr_t sourceStride, float factor, intptr_t rows, intptr_t columns,
    void *_Nonnull target, intptr_t targetStride);
