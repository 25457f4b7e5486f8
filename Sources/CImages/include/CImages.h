// What `Vision` needs of libpng, libjpeg-turbo and libwebp, as one thing: a file in memory becomes pixels in memory that the
// caller has allocated, since it knows the size from the file's header and has checked it; and pixels become a PNG.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef enum {
  MINIMIND_IMAGE_DECODED,
  /// The file ends too early.
  MINIMIND_IMAGE_TRUNCATED,
  /// The file is damaged, or has another size than its header said.
  MINIMIND_IMAGE_BROKEN,
  MINIMIND_IMAGE_NO_MEMORY,
} minimind_image_outcome;

/// Room for what a library says against a file, with the zero at its end.
#define MINIMIND_IMAGE_MESSAGE 200

/// Three bytes a pixel, row by row: red, green, blue. Of 16 bits the upper eight are taken, transparency is left out, gray
/// and palettes become colours, interlaced files are read like others.
minimind_image_outcome minimind_decode_png(
  const uint8_t *bytes, size_t count, uint32_t width, uint32_t height, uint8_t *pixels, char *message);

/// `channels` is 3 for red, green, blue, whatever the file holds of these, and 4 for a file of cyan, magenta, yellow and
/// black, as the file has them.
minimind_image_outcome minimind_decode_jpeg(
  const uint8_t *bytes, size_t count, uint32_t width, uint32_t height, int channels, uint8_t *pixels, char *message);

/// Red, green, blue of a single picture; transparency is left out.
minimind_image_outcome minimind_decode_webp(
  const uint8_t *bytes, size_t count, uint32_t width, uint32_t height, uint8_t *pixels, char *message);

/// The most bytes of a PNG of so many pixels.
size_t minimind_png_limit(uint32_t width, uint32_t height);

/// Writes red, green, blue of each pixel as a PNG.
///
/// `count`: the room in `file`, which must be that limit; after the call the bytes of the file.
minimind_image_outcome minimind_encode_png(
  const uint8_t *pixels, uint32_t width, uint32_t height, uint8_t *file, size_t *count);
