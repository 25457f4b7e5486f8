#pragma once

// oneDNN's matrix product, with its two major C APIs (2 and 3) made one by four functions.

#include <stdint.h>

#define CD_NULLABLE _Nullable
#define CD_NONNULL _Nonnull

/// Element types of a matrix.
typedef enum { CDFloat32 = 0, CDBFloat16 = 1 } CDElementType;

/// A matrix of a product: its element type, and elements between neighbours of a column and of a row.
typedef struct {
  CDElementType type;
  int64_t rowStride;
  int64_t columnStride;
} CDMatrix;

/// A prepared product C = A·B, or C += A·B, of fixed shapes.
typedef struct CDProduct CDProduct;

/// Prepares C [rows, columns] (+)= A [rows, inner] · B [inner, columns], accumulated in fp32.
///
/// A product belongs to the thread that made it. NULL when oneDNN refuses; `status` then holds its code.
CDProduct *CD_NULLABLE cdProductCreate(
    int64_t rows, int64_t inner, int64_t columns, CDMatrix a, CDMatrix b, CDMatrix c, int accumulates,
    int *CD_NONNULL status);

/// Runs the product on memory of the shapes it was made for. Returns 0, or oneDNN's code.
int cdProductRun(
    CDProduct *CD_NONNULL product, const void *CD_NONNULL a, const void *CD_NONNULL b, void *CD_NONNULL c);

void cdProductDestroy(CDProduct *CD_NULLABLE product);

/// From now on products that this thread makes and runs use this thread only.
void cdUseOneThread(void);

/// The version of the library in use, as major * 10000 + minor * 100 + patch.
int cdVersion(void);
