import Storage

/// The text of one line of a JSONL file: `{"text": "…"}`, other keys ignored.
///
/// - Throws: `TokenizerError` with the fault, to be preceded by file and line.
package func documentText(ofJSONLine line: UnsafeRawBufferPointer) throws(TokenizerError) -> String {
  let value: JSON
  do { value = try JSON(parsing: line) } catch {
    throw TokenizerError("not valid JSON: \(error.reason). A row looks like {\"text\": \"…\"}.")
  }
  guard case .string(let text)? = value["text"] else {
    guard case .object(let members) = value else {
      throw TokenizerError("\(value.kind) where an object is expected. A row looks like {\"text\": \"…\"}.")
    }
    let keys = members.prefix(5).map { $0.key.inQuotes }.joined(separator: ", ")
    throw TokenizerError(
      "the key \"text\" is expected with a text, found \(keys.isEmpty ? "no key" : keys). "
        + "A row looks like {\"text\": \"…\"}.")
  }
  return text
}
