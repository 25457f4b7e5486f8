/// Why a file is no picture that this program reads.
package enum PictureError: Error, Equatable, CustomStringConvertible {
  /// The file is something else.
  case notAPicture(found: String)
  /// The file is a picture of a kind that is not read.
  case unsupported(String)
  case truncated
  case damaged(String)
  case tooLarge(String)
  case outOfMemory(width: Int, height: Int)
  /// There is no such file.
  case missing
  /// The file is not below the directory of the data.
  case outside

  /// A sentence without its subject, which the caller knows: a path, a row, a part of a message.
  package var description: String {
    switch self {
    case .notAPicture(let found): "is \(found), not a picture in PNG, JPEG or WebP."
    case .unsupported(let what): "is \(what), which is not read. Save it as PNG, JPEG or WebP with one picture."
    case .truncated: "ends in the middle of the picture. Copy or download it again."
    case .damaged(let reason): "is damaged: \(reason)."
    case .tooLarge(let what): what
    case .outOfMemory(let width, let height): "has \(width) × \(height) pixels, for which there is no memory."
    case .missing: "cannot be opened. Check its name, and the directory of the pictures."
    case .outside: "is not below the directory of the pictures. Give its path from there, without \"..\"."
    }
  }
}
