// What `Corpus` needs of simdjson: parse one JSON text, walk its values, check UTF-8. No C++ exception leaves this shim.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Readable bytes that must follow every text given to `minimind_json_parse`.
enum { MINIMIND_JSON_PADDING = 64 };

/// Owns the memory of the last parsed text; one per thread.
typedef struct MinimindJSONParser MinimindJSONParser;

/// A value inside the last parsed text; valid until its parser parses again or is freed.
typedef struct {
  uint64_t words[2];
} MinimindJSONValue;

typedef enum {
  MINIMIND_JSON_NULL,
  MINIMIND_JSON_BOOLEAN,
  MINIMIND_JSON_NUMBER,
  MINIMIND_JSON_STRING,
  MINIMIND_JSON_ARRAY,
  MINIMIND_JSON_OBJECT,
} MinimindJSONKind;

/// Walks the children of an array or an object.
typedef struct {
  MinimindJSONValue next, end;
  int is_object;
} MinimindJSONCursor;

/// NULL when there is no memory.
MinimindJSONParser *minimind_json_parser_create(void);
void minimind_json_parser_free(MinimindJSONParser *parser);

/// Parses `length` bytes, after which MINIMIND_JSON_PADDING more must be readable.
/// Returns NULL and sets `root`, or the reason in words.
const char *minimind_json_parse(MinimindJSONParser *parser, const char *bytes, size_t length, MinimindJSONValue *root);

MinimindJSONKind minimind_json_kind(MinimindJSONValue value);

/// The text of a string (UTF-8, escapes resolved); NULL when the value is not a string.
const char *minimind_json_string(MinimindJSONValue value, size_t *length);

/// 1 or 0 for true or false; -1 when the value is neither.
int minimind_json_boolean(MinimindJSONValue value);

/// 1 and sets `number`; 0 when the value is no number.
int minimind_json_number(MinimindJSONValue value, double *number);

/// 1 and sets `integer`; 0 when the value is no number written without fraction and exponent, or does not fit.
int minimind_json_integer(MinimindJSONValue value, int64_t *integer);

/// The children of an array or an object; none for any other value.
MinimindJSONCursor minimind_json_children(MinimindJSONValue value);

/// Moves on: 1 with the child (and its key, for an object), or 0 at the end.
int minimind_json_next(MinimindJSONCursor *cursor, MinimindJSONValue *child, const char **key, size_t *key_length);

/// 1 when the bytes are valid UTF-8.
int minimind_is_utf8(const char *bytes, size_t length);

#ifdef __cplusplus
}
#endif
