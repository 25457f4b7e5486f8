import Storage

extension JSON {
  /// Reads the file at `path`, which must be smaller than 16 MiB, as no configuration is larger.
  ///
  /// - Throws: `FileError` when the file cannot be read, `ModelFileError` when it is not JSON.
  public init(contentsOf path: String) throws {
    let file = try MappedFile(path)
    guard file.bytes.count <= 16 << 20 else {
      throw ModelFileError.malformed(
        path: path, fault: "\(file.bytes.count) bytes is too long for a JSON settings file")
    }
    guard !file.bytes.isEmpty else { throw ModelFileError.malformed(path: path, fault: "the file is empty") }
    do { self = try JSON(parsing: file.bytes) } catch {
      throw ModelFileError.malformed(path: path, fault: error.description)
    }
  }
}
