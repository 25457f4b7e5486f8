import Storage

/// Files that hold no text that can be read, recognised by their first bytes, and what to do with them.
enum UnreadableKind {
  /// - Throws: `CorpusError` or `FileError` for a file of such a kind.
  static func check(_ head: [UInt8], _ path: String) throws {
    try GitLFSPointer.refuse(head, path)
    func begins(_ bytes: [UInt8]) -> Bool { head.starts(with: bytes) }
    func begins(_ text: String) -> Bool { head.starts(with: text.utf8) }
    if begins("ARROW1") { throw columnar(path, isStream: false) }
    if begins([0xFF, 0xFF, 0xFF, 0xFF]) { throw columnar(path, isStream: true) }
    if begins([0x50, 0x4B, 3, 4]) { throw packed(path, "a zip archive or an office document", "unzip FILE") }
    if begins([0xFD, 0x37, 0x7A, 0x58, 0x5A]) { throw packed(path, "compressed by xz", "xz -dk FILE") }
    if begins("BZh") && head.dropFirst(4).starts(with: [0x31, 0x41, 0x59]) {
      throw packed(path, "compressed by bzip2", "bunzip2 -k FILE")
    }
    if begins([0x37, 0x7A, 0xBC, 0xAF]) { throw packed(path, "a 7z archive", "7z x FILE") }
    if begins("%PDF") {
      throw CorpusError("\(path) is a PDF file. Take its text out first, for example with: pdftotext FILE")
    }
  }

  private static func packed(_ path: String, _ what: String, _ command: String) -> CorpusError {
    CorpusError("\(path) is \(what). Unpack it first: \(command)")
  }

  static let columnarSuffixes: Set<String> = ["arrow", "feather"]

  /// - Parameter isStream: whether it is written as a stream, as `datasets` does; a file has another beginning.
  static func columnar(_ path: String, isStream: Bool) -> CorpusError {
    let name = path.split(separator: "/").last ?? "FILE"
    let table = "pyarrow.ipc.open_\(isStream ? "stream" : "file")(\"\(name)\").read_all()"
    return CorpusError(
      "\(path) is a table of columns in Arrow's format, which is not read. Convert it, with Python's pyarrow: "
        + "python3 -c 'import pyarrow.parquet; pyarrow.parquet.write_table(\(table), \"\(name).parquet\")'")
  }
}
