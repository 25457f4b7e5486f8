import CLibZip
import Storage

/// The entries of a zip archive in memory, read through libzip.
///
/// For archives as `torch.save` writes them: every entry is stored, none is compressed, so that no small file can unpack
/// to a large one, and nothing is ever unpacked to the disk.
final class ZipArchive {
  struct Entry {
    let name: String
    let byteCount: Int
    fileprivate let index: zip_uint64_t
  }

  /// What error messages call the archive.
  let path: String
  let entries: [String: Entry]
  private let archive: OpaquePointer

  /// The most entries accepted: far above any real model's.
  static let maximumEntryCount = 1 << 16

  /// Checks the archive in `bytes`, which must outlive this object.
  ///
  /// - Throws: `ModelFileError.malformed` when it is damaged, or holds a name that no archive of weights has.
  init(_ bytes: UnsafeRawBufferPointer, path: String) throws(ModelFileError) {
    self.path = path
    var error = zip_error_t()
    zip_error_init(&error)
    defer { zip_error_fini(&error) }
    func malformed(_ fault: String) -> ModelFileError { .malformed(path: path, fault: fault) }
    guard let source = zip_source_buffer_create(bytes.baseAddress, zip_uint64_t(bytes.count), 0, &error) else {
      throw malformed("it cannot be read as a zip archive (\(String(cString: zip_error_strerror(&error))))")
    }
    guard let archive = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error) else {
      zip_source_free(source)
      throw malformed("it cannot be read as a zip archive (\(String(cString: zip_error_strerror(&error))))")
    }
    self.archive = archive
    do throws(ModelFileError) {
      entries = try Self.entries(of: archive, fileByteCount: bytes.count, malformed)
    } catch {
      zip_discard(archive)
      throw error
    }
  }

  deinit { zip_discard(archive) }

  private static func entries(
    of archive: OpaquePointer, fileByteCount: Int, _ malformed: (String) -> ModelFileError
  ) throws(ModelFileError) -> [String: Entry] {
    let count = zip_get_num_entries(archive, 0)
    guard count <= maximumEntryCount else { throw malformed("\(count) entries are more than any model has") }
    var entries: [String: Entry] = [:]
    for index in 0..<zip_uint64_t(max(count, 0)) {
      var status = zip_stat_t()
      zip_stat_init(&status)
      let needed = UInt64(ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD)
      guard zip_stat_index(archive, index, 0, &status) == 0, status.valid & needed == needed,
        let characters = status.name
      else { throw malformed("entry \(index) of the archive cannot be read") }
      let name = String(cString: characters)
      let shown = String(name.prefix(100))
      let parts = name.split(separator: "/", omittingEmptySubsequences: false)
      guard !name.isEmpty, !name.hasPrefix("/"), !name.contains("\\"), !parts.contains(".."), !parts.contains(".")
      else {
        throw malformed("the archive holds the name '\(shown)', which leads out of it")
      }
      guard status.comp_method == ZIP_CM_STORE, status.encryption_method == ZIP_EM_NONE else {
        throw malformed("'\(shown)' is compressed or encrypted, which PyTorch never does")
      }
      guard status.size == status.comp_size, status.size <= UInt64(fileByteCount) else {
        throw malformed("'\(shown)' should have \(status.size) bytes, more than the file holds")
      }
      let entry = Entry(name: name, byteCount: Int(status.size), index: index)
      guard entries.updateValue(entry, forKey: name) == nil else {
        throw malformed("the archive holds '\(shown)' twice")
      }
    }
    return entries
  }

  /// The whole content of an entry of this archive, whose checksum is verified.
  ///
  /// - Throws: `ModelFileError.malformed` when the content is damaged.
  func bytes(of entry: Entry) throws(ModelFileError) -> [UInt8] {
    func malformed() -> ModelFileError {
      let reason = String(cString: zip_strerror(archive))
      return .malformed(path: path, fault: "'\(entry.name.prefix(100))' cannot be read (\(reason))")
    }
    guard let file = zip_fopen_index(archive, entry.index, 0) else { throw malformed() }
    defer { zip_fclose(file) }
    var isComplete = false
    let bytes = [UInt8](unsafeUninitializedCapacity: entry.byteCount + 1) { buffer, count in
      while true {
        // One byte of room beyond the end: libzip compares the checksum when it is asked for more than there is.
        let read = zip_fread(file, buffer.baseAddress! + count, zip_uint64_t(buffer.count - count))
        if read <= 0 {
          isComplete = read == 0 && count == entry.byteCount
          return
        }
        count += Int(read)
        if count > entry.byteCount { return }
      }
    }
    guard isComplete else { throw malformed() }
    return bytes
  }
}
