// What `Corpus` and `Parquet` need of zlib, zstd, snappy and iconv, as one thing: bytes go in, bytes come out, in memory that
// does not grow.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct minimind_decoder minimind_decoder;

typedef enum {
  MINIMIND_DECODED,
  /// The input is not what the decoder reads, or is damaged.
  MINIMIND_DECODING_BROKEN,
  /// The window of a zstd frame is larger than this program accepts.
  MINIMIND_DECODING_WINDOW_TOO_LARGE,
  MINIMIND_DECODING_NO_MEMORY,
} minimind_decoding_outcome;

/// Of a gzip file, also of several members one after another. NULL: no memory.
minimind_decoder *minimind_decoder_gzip(void);

/// Of a zstd file, also of several frames one after another. NULL: no memory.
minimind_decoder *minimind_decoder_zstd(void);

/// From a character encoding to UTF-8. What is not valid in the encoding becomes the byte 0xFF, which no UTF-8 has.
/// NULL: the C library does not know the encoding.
minimind_decoder *minimind_decoder_text(const char *encoding);

/// Decodes as much of the input as there is room for. `input` and `output` move on by what was read and written; at least 16
/// bytes of room are needed for text.
minimind_decoding_outcome minimind_decode(
  minimind_decoder *decoder, const uint8_t **input, size_t *input_count, uint8_t **output, size_t *output_count,
  int is_last_input);

/// Whether the input may end here: 0 in the middle of compressed data.
int minimind_decoder_may_end(const minimind_decoder *decoder);

void minimind_decoder_free(minimind_decoder *decoder);

/// Decodes a block of snappy, whose size must be `output_count` when it is decoded.
minimind_decoding_outcome minimind_decode_snappy(
  const uint8_t *input, size_t input_count, uint8_t *output, size_t output_count);
