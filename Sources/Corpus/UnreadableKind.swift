import Storage

/// Files that hold no text that can be read, recognised by their first bytes, and what to do with them.
enum UnreadableKind {
  /// - Throws: `CorpusError` or `FileError` for a file of such a kind.
  static func check(_ head: [UInt8], _ path: String) throws {
    try GitLFSPointer.refuse(head, path)
    func begins(_ bytes: [UInt8]) -> Bool { head.starts(with: bytes) }
    func begins(_ text: String) -> Bool { head.starts(with: text.utf8) }
    if begins("PAR1") || begins("ARROW1") || begins([0xFF, 0xFF, 0xFF, 0xFF]) { throw columnar(path) }
    if begins([0x50, 0x4B, 3, 4]) { throw packed(path, "a zip archive or an office document", "unzip FILE") }
    if begins([0xFD, 0x37, 0x7A, 0x58, 0x5A]) { throw packed(path, "compressed by xz", "xz -dk FILE") }
    if begins("BZh") && head.dropFirst(4).starts(with: [0x31, 0x41, 0x59]) {
      throw packed(path, "compressed by bzip2", "bunzip2 -k FILE")
    }
    if begins([0x37, 0x7A, 0xBC, 0xAF]) { throw packed(path, "a 7z archive", "7z x FILE") }
    if begins("%PDF") {
      throw CorpusError("\(path) is a PDF file. Take its text out first, for example with: pdftotext FILE")
    }
    if head.count > 262, head[257..<262].elementsEqual("ustar".utf8) {
      throw packed(path, "a tar archive", "tar xf FILE")
    }
  }

  private static func packed(_ path: String, _ what: String, _ command: String) -> CorpusError {
    CorpusError("\(path) is \(what). Unpack it first: \(command)")
  }

  static let columnarSuffixes: Set<String> = ["parquet", "arrow", "feather"]

  /// There is no library for these in Debian that could be linked.
  static func columnar(_ path: String) -> CorpusError {
    let name = path.split(separator: "/").last ?? "FILE"
    let reader =
      path.lowercased().hasSuffix(".arrow") || path.lowercased().hasSuffix(".feather") ? "feather" : "parquet"
    return CorpusError(
      "\(path) is a table of columns (Parquet or Arrow), which is not read. Convert it, with Python's pandas and pyarrow: "
        + "python3 -c 'import pandas; pandas.read_\(reader)(\"\(name)\").to_json(\"\(name).jsonl\", orient=\"records\", "
        + "lines=True, force_ascii=False)'")
  }
}
