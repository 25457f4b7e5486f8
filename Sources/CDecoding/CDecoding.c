#include "CDecoding.h"

#include <errno.h>
#include <iconv.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>

typedef enum { GZIP, ZSTD, TEXT } decoder_kind;

struct minimind_decoder {
  decoder_kind kind;
  z_stream gzip;
  ZSTD_DStream *zstd;
  iconv_t text;
  /// Bytes of a character's smallest unit.
  size_t unit;
  int may_end;
};

static minimind_decoder *create(decoder_kind kind) {
  minimind_decoder *decoder = calloc(1, sizeof(minimind_decoder));
  if (!decoder) return NULL;
  decoder->kind = kind;
  decoder->may_end = 1;
  return decoder;
}

minimind_decoder *minimind_decoder_gzip(void) {
  minimind_decoder *decoder = create(GZIP);
  if (!decoder) return NULL;
  if (inflateInit2(&decoder->gzip, MAX_WBITS + 16) == Z_OK) return decoder;
  free(decoder);
  return NULL;
}

minimind_decoder *minimind_decoder_zstd(void) {
  minimind_decoder *decoder = create(ZSTD);
  if (!decoder) return NULL;
  decoder->zstd = ZSTD_createDStream();
  if (decoder->zstd) return decoder;
  free(decoder);
  return NULL;
}

minimind_decoder *minimind_decoder_text(const char *encoding) {
  minimind_decoder *decoder = create(TEXT);
  if (!decoder) return NULL;
  decoder->text = iconv_open("UTF-8", encoding);
  if (decoder->text != (iconv_t)-1) {
    decoder->unit = strncasecmp(encoding, "UTF-16", 6) == 0 || strncasecmp(encoding, "UCS-2", 5) == 0   ? 2
                    : strncasecmp(encoding, "UTF-32", 6) == 0 || strncasecmp(encoding, "UCS-4", 5) == 0 ? 4
                                                                                                        : 1;
    return decoder;
  }
  free(decoder);
  return NULL;
}

static minimind_decoding_outcome decode_gzip(
  minimind_decoder *decoder, const uint8_t **input, size_t *input_count, uint8_t **output, size_t *output_count) {
  z_stream *stream = &decoder->gzip;
  while (*output_count > 0) {
    if (decoder->may_end) {
      // Between members; zeros fill the last block of a tape.
      while (*input_count > 0 && **input == 0) {
        ++*input;
        --*input_count;
      }
      if (*input_count == 0) return MINIMIND_DECODED;
      decoder->may_end = 0;
    }
    // What is left in the window comes out even where no input is left.
    size_t given = *input_count < 1 << 30 ? *input_count : 1 << 30;
    size_t room = *output_count < 1 << 30 ? *output_count : 1 << 30;
    stream->next_in = (Bytef *)*input;
    stream->avail_in = (uInt)given;
    stream->next_out = *output;
    stream->avail_out = (uInt)room;
    int result = inflate(stream, Z_NO_FLUSH);
    *input += given - stream->avail_in;
    *input_count -= given - stream->avail_in;
    *output += room - stream->avail_out;
    *output_count -= room - stream->avail_out;
    if (result == Z_STREAM_END) {
      decoder->may_end = 1;
      if (inflateReset(stream) != Z_OK) return MINIMIND_DECODING_BROKEN;
    } else if (result == Z_BUF_ERROR) {
      return MINIMIND_DECODED;
    } else if (result == Z_MEM_ERROR) {
      return MINIMIND_DECODING_NO_MEMORY;
    } else if (result != Z_OK) {
      return MINIMIND_DECODING_BROKEN;
    }
  }
  return MINIMIND_DECODED;
}

static minimind_decoding_outcome decode_zstd(
  minimind_decoder *decoder, const uint8_t **input, size_t *input_count, uint8_t **output, size_t *output_count) {
  while (*output_count > 0) {
    if (decoder->may_end && *input_count == 0) return MINIMIND_DECODED;
    ZSTD_inBuffer in = {*input, *input_count, 0};
    ZSTD_outBuffer out = {*output, *output_count, 0};
    size_t result = ZSTD_decompressStream(decoder->zstd, &out, &in);
    *input += in.pos;
    *input_count -= in.pos;
    *output += out.pos;
    *output_count -= out.pos;
    if (ZSTD_isError(result)) {
      // The codes are of zstd_errors.h, which Debian installs with zstd.h.
      const char *name = ZSTD_getErrorName(result);
      if (strstr(name, "too much memory")) return MINIMIND_DECODING_WINDOW_TOO_LARGE;
      return strstr(name, "not enough memory") ? MINIMIND_DECODING_NO_MEMORY : MINIMIND_DECODING_BROKEN;
    }
    decoder->may_end = result == 0;
    if (in.pos == 0 && out.pos == 0) return MINIMIND_DECODED;
  }
  return MINIMIND_DECODED;
}

static minimind_decoding_outcome decode_text(
  minimind_decoder *decoder, const uint8_t **input, size_t *input_count, uint8_t **output, size_t *output_count,
  int is_last_input) {
  while (*input_count > 0) {
    char *from = (char *)*input, *to = (char *)*output;
    size_t result = iconv(decoder->text, &from, input_count, &to, output_count);
    *input = (const uint8_t *)from;
    *output = (uint8_t *)to;
    if (result != (size_t)-1 || errno == E2BIG) return MINIMIND_DECODED;
    if (errno == EINVAL && !is_last_input) return MINIMIND_DECODED;
    if (errno != EILSEQ && errno != EINVAL) return MINIMIND_DECODING_BROKEN;
    if (*output_count == 0) return MINIMIND_DECODED;
    *(*output)++ = 0xFF;
    --*output_count;
    size_t skipped = errno == EINVAL || *input_count < decoder->unit ? *input_count : decoder->unit;
    *input += skipped;
    *input_count -= skipped;
  }
  return MINIMIND_DECODED;
}

minimind_decoding_outcome minimind_decode(
  minimind_decoder *decoder, const uint8_t **input, size_t *input_count, uint8_t **output, size_t *output_count,
  int is_last_input) {
  switch (decoder->kind) {
    case GZIP: return decode_gzip(decoder, input, input_count, output, output_count);
    case ZSTD: return decode_zstd(decoder, input, input_count, output, output_count);
    default: return decode_text(decoder, input, input_count, output, output_count, is_last_input);
  }
}

int minimind_decoder_may_end(const minimind_decoder *decoder) { return decoder->may_end; }

void minimind_decoder_free(minimind_decoder *decoder) {
  if (decoder->kind == GZIP) inflateEnd(&decoder->gzip);
  if (decoder->kind == ZSTD) ZSTD_freeDStream(decoder->zstd);
  if (decoder->kind == TEXT) iconv_close(decoder->text);
  free(decoder);
}

minimind_decoding_outcome minimind_decode_snappy(
  const uint8_t *input, size_t input_count, uint8_t *output, size_t output_count) {
  size_t count = 0;
  if (snappy_uncompressed_length((const char *)input, input_count, &count) != SNAPPY_OK || count != output_count)
    return MINIMIND_DECODING_BROKEN;
  snappy_status status = snappy_uncompress((const char *)input, input_count, (char *)output, &count);
  return status == SNAPPY_OK && count == output_count ? MINIMIND_DECODED : MINIMIND_DECODING_BROKEN;
}
