import Foundation

/// A picture that is part of a text: `data:image/png;base64,…` (RFC 2397).
package enum DataURL {
  /// Whether a text is meant as one.
  package static func isOne(_ text: String) -> Bool { text.prefix(5).lowercased() == "data:" }

  /// The bytes of a picture's file.
  ///
  /// - Parameter limit: the most bytes.
  /// - Throws: `PictureError` for a text that is no such URL, one of another kind of data, and one of too many bytes.
  package static func bytes(_ text: String, limit: Int) throws(PictureError) -> [UInt8] {
    guard isOne(text), let comma = text.firstIndex(of: ",") else {
      throw .notAPicture(found: "no data: URL with a comma before its content")
    }
    let kind = text[text.index(text.startIndex, offsetBy: 5)..<comma].lowercased()
    guard kind.hasSuffix(";base64") else { throw .notAPicture(found: "a data: URL that is not in base64") }
    // Of bytes that nobody has looked at yet, the decoder says what they are.
    guard kind.hasPrefix("image/") || kind == "application/octet-stream;base64" else {
      throw .notAPicture(found: "data of the kind \"\(kind.prefix { $0 != ";" }.prefix(40))\"")
    }
    return try bytes(base64: text[text.index(after: comma)...], limit: limit)
  }

  /// The bytes that a text in base64 stands for.
  ///
  /// - Throws: `PictureError`.
  package static func bytes(base64 text: some StringProtocol, limit: Int) throws(PictureError) -> [UInt8] {
    guard text.utf8.count / 4 * 3 <= limit + 3 else {
      throw .tooLarge("has more than \(limit >> 20) MiB. Make it smaller.")
    }
    guard let data = Data(base64Encoded: String(text), options: .ignoreUnknownCharacters), !data.isEmpty else {
      throw .damaged("its base64 is not valid")
    }
    return [UInt8](data)
  }
}
