import CPCRE2

/// A regular expression of the user's, over Unicode text; `^` and `$` match at lines.
///
/// Sendable: the compiled code is never changed after `init`, and PCRE2 only reads it.
package final class TextPattern: @unchecked Sendable, Equatable {
  package let source: String
  private let code: OpaquePointer

  /// Steps of one match. A pattern that needs more on an answer does not match: some would go on for ever.
  private static let matchLimit: UInt32 = 1_000_000

  /// - Throws: `TaskProblem` with what PCRE2 says of the pattern.
  package init(_ source: String) throws(TaskProblem) {
    self.source = source
    var error: Int32 = 0
    var offset = 0
    let bytes = Array(source.utf8)
    let options = UInt32(PCRE2_UTF) | UInt32(PCRE2_UCP) | UInt32(PCRE2_MULTILINE) | UInt32(PCRE2_NEVER_BACKSLASH_C)
    guard let code = pcre2_compile_8(bytes, bytes.count, options, &error, &offset, nil) else {
      var text = [UInt8](repeating: 0, count: 256)
      let length = pcre2_get_error_message_8(error, &text, text.count)
      throw TaskProblem("\(String(decoding: text.prefix(Int(max(0, length))), as: UTF8.self)), at place \(offset)")
    }
    self.code = code
  }

  deinit { pcre2_code_free_8(code) }

  /// Whether it matches anywhere in the text.
  package func matches(_ text: String) -> Bool {
    guard let match = pcre2_match_data_create_8(1, nil), let context = pcre2_match_context_create_8(nil) else {
      return false
    }
    defer {
      pcre2_match_data_free_8(match)
      pcre2_match_context_free_8(context)
    }
    pcre2_set_match_limit_8(context, Self.matchLimit)
    let bytes = Array(text.utf8)
    return pcre2_match_8(code, bytes, bytes.count, 0, 0, match, context) >= 0
  }

  package static func == (left: TextPattern, right: TextPattern) -> Bool { left.source == right.source }
}
