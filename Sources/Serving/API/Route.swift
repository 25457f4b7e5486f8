/// A method and a path, and what answers them.
package struct Route<Service: Sendable>: Sendable {
  let method: String
  /// `/models/{id}`: a name in braces is any text without a slash; at the end of the path it is all that follows.
  package let path: String
  /// Whether clients need no key.
  let isOpen: Bool
  /// How its errors are written.
  let style: APIStyle
  let answer: @Sendable (Service, HTTPRequest, _ values: [String], Reply) throws(APIError) -> Void

  /// - Parameter answer: gets the texts at the names in braces as `values`, and answers now or later.
  package init(
    method: String, path: String, isOpen: Bool = false, style: APIStyle = .openAI,
    answer: @escaping @Sendable (Service, HTTPRequest, _ values: [String], Reply) throws(APIError) -> Void
  ) {
    self.method = method
    self.path = path
    self.isOpen = isOpen
    self.style = style
    self.answer = answer
  }

  /// The texts at the names in braces; nil if the path is not this route's.
  ///
  /// - Parameter path: normalised.
  package func values(in path: String) -> [String]? {
    let parts = self.path.split(separator: "/", omittingEmptySubsequences: false)
    let found = path.split(separator: "/", maxSplits: parts.count - 1, omittingEmptySubsequences: false)
    guard found.count == parts.count else { return nil }
    var values: [String] = []
    for (part, text) in zip(parts, found) {
      if part.hasPrefix("{") {
        guard !text.isEmpty else { return nil }
        values.append(String(text))
      } else if part != text {
        return nil
      }
    }
    return values
  }
}

/// A path that begins with one slash, also where the request has a whole URI (RFC 9112, section 3.2.2) or clients have put
/// a slash too many after the base URL.
package func originPath(_ path: String) -> String {
  var path = Substring(path)
  for scheme in ["http://", "https://"] where path.hasPrefix(scheme) {
    path = path.dropFirst(scheme.count)
    path = path.utf8.firstIndex(of: UInt8(ascii: "/")).map { path[$0...] } ?? "/"
  }
  let start = path.utf8.firstIndex { $0 != UInt8(ascii: "/") } ?? path.utf8.endIndex
  return "/" + path[start...]
}

/// A path without `/v1` at its beginning and slashes at its end, in which clients differ.
package func normalizedPath(_ path: String) -> String {
  // By bytes: to count characters for each of many slashes would take a second.
  guard let end = path.utf8.lastIndex(where: { $0 != UInt8(ascii: "/") }) else { return "/" }
  var path = Substring(path.utf8[...end])
  if path == "/v1" || path.hasPrefix("/v1/") { path.removeFirst(3) }
  return path.isEmpty ? "/" : String(path)
}
