import Foundation
import Storage

/// A file to read, its rows not yet looked at.
package struct InputFile: Sendable, Equatable {
  package let path: String
  package let byteCount: Int
  package let format: InputFormat
  /// What separates the fields of CSV.
  package let separator: UInt8
  package let compression: Compression?
  package let encoding: TextEncoding
  /// The open end of a pipe, which can be read once.
  let pipe: Pipe?

  /// Whether a row ends at every newline of the file itself, so that rows can be found from anywhere in it.
  var isStriped: Bool {
    (format == .jsonLines || format == .text) && compression == nil && encoding.isUTF8 && pipe == nil
  }

  private static let headBytes = 1 << 16

  /// Looks at the beginning of the file at `path`.
  ///
  /// - Throws: `CorpusError` or `FileError` for a path that is missing, unreadable, or no text.
  init(_ path: String, _ options: InputOptions) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError("cannot open", path, errno: errno) }
    let source = DescriptorSource(descriptor, path: path)
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileError("cannot read", path, errno: errno) }
    let kind = status.st_mode & S_IFMT
    guard [S_IFREG, S_IFIFO, S_IFSOCK].contains(kind) else {
      throw CorpusError(
        isatty(descriptor) == 1
          ? "cannot read \(path): it is a terminal. Name a file, or send text through a pipe."
          : "cannot read \(path): it is \(kind == S_IFDIR ? "a directory" : "a device"), a file or a pipe is expected.")
    }
    let raw = try Self.head(of: source)
    let name = (path as NSString).lastPathComponent
    try UnreadableKind.check(raw, path)
    compression = Compression(head: raw)
    var head = raw
    var isWhole = raw.count < Self.headBytes
    if let compression {
      // Of a pipe no more than the beginning may be read here.
      let isFile = kind == S_IFREG
      let beginning: any ByteSource =
        isFile ? DescriptorSource(dup(descriptor), path: path, head: raw) : HeadSource(raw)
      head = try Self.head(of: DecodedSource(beginning, compression, path: path), isCutAllowed: !isFile && !isWhole)
      isWhole = (isFile || isWhole) && head.count < Self.headBytes
      try UnreadableKind.check(head, path)
    }
    if let format = InputFormat(binary: head) {
      guard format == .tar || kind == S_IFREG && compression == nil else {
        throw CorpusError(
          "\(path) is Parquet, of which the end is read first, "
            + (kind == S_IFREG ? "and compressed as a whole. Decompress it first." : "and a pipe. Name a file."))
      }
      (self.format, self.encoding, separator, self.path) = (format, .utf8, .comma, path)
      byteCount = kind == S_IFREG ? Int(status.st_size) : raw.count
      pipe = kind == S_IFREG ? nil : Pipe(source: DescriptorSource(dup(descriptor), path: path, head: raw))
      return
    }
    guard let encoding = head.withUnsafeBytes({ TextEncoding.of($0, wanted: options.encoding, isWhole: isWhole) })
    else {
      throw CorpusError(
        "\(path) is not UTF-8, and its beginning does not show what else it is. Name its encoding with --encoding, "
          + "such as gb18030, big5, shift_jis, euc-kr or windows-1252.")
    }
    self.encoding = encoding
    if !encoding.isUTF8 {
      head = try Self.head(of: DecodedSource(HeadSource(head), encoding, path: path))
    } else if head.prefix(4096).count(where: { $0 == 0 }) * 20 > min(head.count, 4096) {
      throw CorpusError("\(path) is not text: its beginning is full of zero bytes.")
    }
    let suffix = Self.suffix(of: name)
    var format = InputFormat(suffix: suffix, head: head)
    if options.wholeFiles && format == .text { format = .wholeFile }
    self.format = format
    separator = suffix == "tsv" ? UInt8(ascii: "\t") : InputFormat.separator(head: head[...])
    self.path = path
    byteCount = kind == S_IFREG ? Int(status.st_size) : raw.count
    pipe = kind == S_IFREG ? nil : Pipe(source: DescriptorSource(dup(descriptor), path: path, head: raw))
  }

  /// The suffix that says what is in a file, in lower case: of `a.jsonl.gz` it is `jsonl`.
  static func suffix(of name: String) -> String {
    let suffix = (name as NSString).pathExtension.lowercased()
    guard InputFormat.compressionSuffixes.contains(suffix) else { return suffix }
    return ((name as NSString).deletingPathExtension as NSString).pathExtension.lowercased()
  }

  /// - Parameter isCutAllowed: whether the data may end in the middle.
  private static func head(of source: any ByteSource, isCutAllowed: Bool = false) throws -> [UInt8] {
    var head = [UInt8](repeating: 0, count: headBytes)
    var count = 0
    while count < head.count {
      do {
        let got = try head.withUnsafeMutableBytes {
          try source.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[count...]))
        }
        if got == 0 { break }
        count += got
      } catch {
        guard isCutAllowed && count > 0 else { throw error }
        break
      }
    }
    head.removeSubrange(count...)
    return head
  }

  /// The file's content as UTF-8, from the beginning; of a format that is no text its rows as lines of JSON.
  func makeSource() throws -> any ByteSource {
    if format == .parquet { return RowSource(try ParquetFile(path)) }
    var source: any ByteSource
    if let pipe {
      source = try pipe.take()
    } else {
      let descriptor = open(path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw FileError("cannot open", path, errno: errno) }
      source = DescriptorSource(descriptor, path: path)
    }
    if let compression { source = DecodedSource(source, compression, path: path) }
    if !encoding.isUTF8 { source = try DecodedSource(source, encoding, path: path) }
    return format == .tar ? RowSource(WebDatasetArchive(source, path: path)) : source
  }
}

/// The open end of a pipe, to be read once.
///
/// Sendable: `source` is taken under the lock, by one reader.
final class Pipe: @unchecked Sendable, Equatable {
  private var source: DescriptorSource?
  private let lock = NSLock()

  init(source: DescriptorSource) { self.source = source }

  static func == (left: Pipe, right: Pipe) -> Bool { left === right }

  func take() throws(CorpusError) -> DescriptorSource {
    let source = lock.withLock {
      defer { self.source = nil }
      return self.source
    }
    guard let source else { throw CorpusError("a pipe can be read once only. Give a file.") }
    return source
  }
}

/// Bytes that are in memory already.
private final class HeadSource: ByteSource {
  private var bytes: ArraySlice<UInt8>
  init(_ bytes: [UInt8]) { self.bytes = bytes[...] }
  let fileBytesRead = 0

  func read(into room: UnsafeMutableRawBufferPointer) -> Int {
    let count = min(room.count, bytes.count)
    room.copyBytes(from: bytes.prefix(count))
    bytes = bytes.dropFirst(count)
    return count
  }
}

/// Options of how files are read.
package struct InputOptions: Sendable, Equatable {
  /// A plain text file is one document instead of a document a line.
  package var wholeFiles = false
  /// What the files are in that are not UTF-8; nil to judge each by its beginning.
  package var encoding: TextEncoding?

  package init(wholeFiles: Bool = false, encoding: TextEncoding? = nil) {
    self.wholeFiles = wholeFiles
    self.encoding = encoding
  }
}
