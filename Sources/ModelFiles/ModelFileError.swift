/// What can be wrong with a file of a model directory. The text names the file, the fault and the remedy.
public enum ModelFileError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The bytes are not what the format prescribes: cut short, damaged, or another kind of file.
  case malformed(path: String, fault: String)
  /// The file is well formed and asks for something that this program does not do.
  case unsupported(path: String, feature: String)
  /// The weights are not those that the configuration describes.
  case contradiction(String)
  /// The path does not lead to a model directory.
  case notAModel(path: String, reason: String)

  public var description: String {
    switch self {
    case .malformed(let path, let fault):
      "\(path): \(fault). The file is damaged or not what its name says: copy or download it again."
    case .unsupported(let path, let feature): "\(path): \(feature)."
    case .contradiction(let text): text
    case .notAModel(let path, let reason): "\(path) is not a model: \(reason)."
    }
  }
}
