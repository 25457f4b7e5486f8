#include "CSimdJSON.h"

#include <cstring>
#include <new>
#include <simdjson.h>

namespace dom = simdjson::dom;

static_assert(MINIMIND_JSON_PADDING >= simdjson::SIMDJSON_PADDING, "simdjson asks for more padding");
static_assert(sizeof(dom::element) == sizeof(MinimindJSONValue), "an element no longer fits the opaque value");
static_assert(sizeof(dom::array::iterator) == sizeof(MinimindJSONValue), "an iterator no longer fits");
static_assert(sizeof(dom::object::iterator) == sizeof(MinimindJSONValue), "an iterator no longer fits");

struct MinimindJSONParser {
  dom::parser parser;
};

template <class To, class From> static To copied(const From &from) noexcept {
  To to;
  std::memcpy(static_cast<void *>(&to), static_cast<const void *>(&from), sizeof(To));
  return to;
}

MinimindJSONParser *minimind_json_parser_create(void) {
  try {
    return new MinimindJSONParser();
  } catch (...) {
    return nullptr;
  }
}

void minimind_json_parser_free(MinimindJSONParser *parser) { delete parser; }

const char *minimind_json_parse(MinimindJSONParser *parser, const char *bytes, size_t length, MinimindJSONValue *root) {
  try {
    dom::element element;
    simdjson::error_code error = parser->parser.parse(bytes, length, false).get(element);
    if (error) return simdjson::error_message(error);
    *root = copied<MinimindJSONValue>(element);
    return nullptr;
  } catch (...) {
    return "there is not enough memory to parse it";
  }
}

MinimindJSONKind minimind_json_kind(MinimindJSONValue value) {
  switch (copied<dom::element>(value).type()) {
    case dom::element_type::ARRAY: return MINIMIND_JSON_ARRAY;
    case dom::element_type::OBJECT: return MINIMIND_JSON_OBJECT;
    case dom::element_type::STRING: return MINIMIND_JSON_STRING;
    case dom::element_type::BOOL: return MINIMIND_JSON_BOOLEAN;
    case dom::element_type::NULL_VALUE: return MINIMIND_JSON_NULL;
    default: return MINIMIND_JSON_NUMBER;
  }
}

const char *minimind_json_string(MinimindJSONValue value, size_t *length) {
  std::string_view text;
  if (copied<dom::element>(value).get_string().get(text)) return nullptr;
  *length = text.size();
  return text.data();
}

int minimind_json_boolean(MinimindJSONValue value) {
  bool boolean;
  return copied<dom::element>(value).get_bool().get(boolean) ? -1 : boolean ? 1 : 0;
}

int minimind_json_number(MinimindJSONValue value, double *number) {
  return copied<dom::element>(value).get_double().get(*number) ? 0 : 1;
}

int minimind_json_integer(MinimindJSONValue value, int64_t *integer) {
  dom::element element = copied<dom::element>(value);
  return element.is_int64() && !element.get_int64().get(*integer) ? 1 : 0;
}

MinimindJSONCursor minimind_json_children(MinimindJSONValue value) {
  dom::element element = copied<dom::element>(value);
  MinimindJSONCursor cursor = {};
  dom::object object;
  dom::array array;
  if (!element.get_object().get(object)) {
    cursor.next = copied<MinimindJSONValue>(object.begin());
    cursor.end = copied<MinimindJSONValue>(object.end());
    cursor.is_object = 1;
  } else if (!element.get_array().get(array)) {
    cursor.next = copied<MinimindJSONValue>(array.begin());
    cursor.end = copied<MinimindJSONValue>(array.end());
  }
  return cursor;
}

template <class Iterator> static bool advance(MinimindJSONCursor *cursor, Iterator &here) noexcept {
  Iterator next = copied<Iterator>(cursor->next);
  if (!(next != copied<Iterator>(cursor->end))) return false;
  here = next;
  ++next;
  cursor->next = copied<MinimindJSONValue>(next);
  return true;
}

int minimind_json_next(MinimindJSONCursor *cursor, MinimindJSONValue *child, const char **key, size_t *key_length) {
  if (cursor->next.words[0] == 0 && cursor->end.words[0] == 0) return 0;  // not a container
  if (cursor->is_object) {
    dom::object::iterator here = copied<dom::object::iterator>(cursor->next);
    if (!advance(cursor, here)) return 0;
    std::string_view name = here.key();
    *key = name.data();
    *key_length = name.size();
    *child = copied<MinimindJSONValue>(here.value());
  } else {
    dom::array::iterator here = copied<dom::array::iterator>(cursor->next);
    if (!advance(cursor, here)) return 0;
    *key = nullptr;
    *key_length = 0;
    *child = copied<MinimindJSONValue>(*here);
  }
  return 1;
}

int minimind_is_utf8(const char *bytes, size_t length) { return simdjson::validate_utf8(bytes, length) ? 1 : 0; }
