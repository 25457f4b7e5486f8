#include "CImages.h"
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include <webp/decode.h>

static void say(char *message, const char *text) { snprintf(message, MINIMIND_IMAGE_MESSAGE, "%s", text); }

// MARK: - PNG

typedef struct {
  const uint8_t *next;
  size_t left;
  int is_truncated;
  char *message;
} png_source;

static void read_png(png_structp png, png_bytep target, png_size_t count) {
  png_source *source = png_get_io_ptr(png);
  if (count > source->left) {
    source->is_truncated = 1;
    png_error(png, "the file ends too early");
  }
  memcpy(target, source->next, count);
  source->next += count;
  source->left -= count;
}

static void fail_png(png_structp png, png_const_charp text) {
  say(((png_source *)png_get_error_ptr(png))->message, text);
  longjmp(png_jmpbuf(png), 1);
}

static void ignore_warning(png_structp png, png_const_charp text) { (void)png, (void)text; }

minimind_image_outcome minimind_decode_png(
  const uint8_t *bytes, size_t count, uint32_t width, uint32_t height, uint8_t *pixels, char *message) {
  png_source source = {bytes, count, 0, message};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, fail_png, ignore_warning);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  png_bytep *volatile rows = malloc(height * sizeof *rows);
  minimind_image_outcome outcome = MINIMIND_IMAGE_DECODED;
  if (!info || !rows) {
    outcome = MINIMIND_IMAGE_NO_MEMORY;
  } else if (setjmp(png_jmpbuf(png))) {
    outcome = source.is_truncated ? MINIMIND_IMAGE_TRUNCATED : MINIMIND_IMAGE_BROKEN;
  } else {
    png_set_read_fn(png, &source, read_png);
    png_set_user_limits(png, width, height);
    // Texts and profiles, which nothing reads.
    png_set_chunk_cache_max(png, 64);
    png_set_chunk_malloc_max(png, 1 << 20);
    png_read_info(png, info);
    if (png_get_image_width(png, info) != width || png_get_image_height(png, info) != height) png_error(png, "two sizes");
    png_set_strip_16(png);
    png_set_expand(png);
    png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != 3 * (size_t)width) png_error(png, "rows of another length");
    for (uint32_t row = 0; row < height; row++) rows[row] = pixels + 3 * (size_t)width * row;
    png_read_image(png, rows);
  }
  free(rows);
  png_destroy_read_struct(&png, &info, NULL);
  return outcome;
}

static png_image colours_of(uint32_t width, uint32_t height) {
  png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB};
  return image;
}

size_t minimind_png_limit(uint32_t width, uint32_t height) {
  png_image image = colours_of(width, height);
  return PNG_IMAGE_PNG_SIZE_MAX(image);
}

minimind_image_outcome minimind_encode_png(
  const uint8_t *pixels, uint32_t width, uint32_t height, uint8_t *file, size_t *count) {
  png_image image = colours_of(width, height);
  png_alloc_size_t bytes = *count;
  int is_written = png_image_write_to_memory(&image, file, &bytes, 0, pixels, 0, NULL);
  *count = bytes;
  png_image_free(&image);
  return is_written ? MINIMIND_IMAGE_DECODED : MINIMIND_IMAGE_NO_MEMORY;
}

// MARK: - JPEG

minimind_image_outcome minimind_decode_jpeg(
  const uint8_t *bytes, size_t count, uint32_t width, uint32_t height, int channels, uint8_t *pixels, char *message) {
  tjhandle jpeg = tjInitDecompress();
  if (!jpeg) return MINIMIND_IMAGE_NO_MEMORY;
  minimind_image_outcome outcome = MINIMIND_IMAGE_DECODED;
  int foundWidth, foundHeight, subsampling, space;
  if (tjDecompressHeader3(jpeg, bytes, count, &foundWidth, &foundHeight, &subsampling, &space) != 0) {
    say(message, tjGetErrorStr2(jpeg));
    outcome = MINIMIND_IMAGE_BROKEN;
  } else if (foundWidth != (int)width || foundHeight != (int)height ||
             (channels == 4) != (space == TJCS_CMYK || space == TJCS_YCCK)) {
    say(message, "two sizes");
    outcome = MINIMIND_IMAGE_BROKEN;
  } else if (tjDecompress2(
               jpeg, bytes, count, pixels, foundWidth, 0, foundHeight, channels == 4 ? TJPF_CMYK : TJPF_RGB,
               TJFLAG_LIMITSCANS) != 0) {
    const char *text = tjGetErrorStr2(jpeg);
    say(message, text);
    // Other warnings are of bytes that do no harm.
    if (strstr(text, "Premature end")) outcome = MINIMIND_IMAGE_TRUNCATED;
    else if (tjGetErrorCode(jpeg) != TJERR_WARNING) outcome = MINIMIND_IMAGE_BROKEN;
  }
  tjDestroy(jpeg);
  return outcome;
}

// MARK: - WebP

minimind_image_outcome minimind_decode_webp(
  const uint8_t *bytes, size_t count, uint32_t width, uint32_t height, uint8_t *pixels, char *message) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) return MINIMIND_IMAGE_NO_MEMORY;
  VP8StatusCode status = WebPGetFeatures(bytes, count, &config.input);
  if (status == VP8_STATUS_OK) {
    if (config.input.width != (int)width || config.input.height != (int)height) {
      say(message, "two sizes");
      return MINIMIND_IMAGE_BROKEN;
    }
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = pixels;
    config.output.u.RGBA.stride = 3 * (int)width;
    config.output.u.RGBA.size = 3 * (size_t)width * height;
    status = WebPDecode(bytes, count, &config);
  }
  switch (status) {
    case VP8_STATUS_OK: return MINIMIND_IMAGE_DECODED;
    case VP8_STATUS_OUT_OF_MEMORY: return MINIMIND_IMAGE_NO_MEMORY;
    case VP8_STATUS_NOT_ENOUGH_DATA: return MINIMIND_IMAGE_TRUNCATED;
    default: say(message, "the data of the picture are not valid"); return MINIMIND_IMAGE_BROKEN;
  }
}
