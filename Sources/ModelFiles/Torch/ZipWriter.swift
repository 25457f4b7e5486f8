import CLibZip
import Storage

/// Writes zip archives of stored (not compressed) entries through libzip, as `torch.load` reads them.
package enum ZipWriter {
  package struct Entry {
    package var name: String
    /// Must stay where they are until the archive is written.
    package var bytes: UnsafeRawBufferPointer

    package init(name: String, bytes: UnsafeRawBufferPointer) {
      self.name = name
      self.bytes = bytes
    }
  }

  /// Writes the archive, which appears at `path` whole or not at all. The same entries give the same bytes.
  ///
  /// - Throws: `FileError`.
  package static func write(_ entries: [Entry], to path: String) throws {
    try AtomicFile.write(path) { temporaryPath in
      var code: Int32 = 0
      guard let archive = zip_open(temporaryPath, ZIP_CREATE | ZIP_TRUNCATE, &code) else {
        var error = zip_error_t()
        zip_error_init_with_code(&error, code)
        defer { zip_error_fini(&error) }
        if zip_error_system_type(&error) == ZIP_ET_SYS, zip_error_code_system(&error) != 0 {
          throw FileError("cannot create", path, errno: zip_error_code_system(&error))
        }
        throw FileError("cannot create \(path): \(String(cString: zip_error_strerror(&error))).")
      }
      do {
        for entry in entries { try add(entry, to: archive, path) }
        guard zip_close(archive) == 0 else { throw failure(archive, path) }
      } catch {
        zip_discard(archive)
        throw error
      }
    }
  }

  private static func add(_ entry: Entry, to archive: OpaquePointer, _ path: String) throws {
    guard let source = zip_source_buffer(archive, entry.bytes.baseAddress, zip_uint64_t(entry.bytes.count), 0) else {
      throw failure(archive, path)
    }
    let index = zip_file_add(archive, entry.name, source, zip_flags_t(ZIP_FL_ENC_UTF_8))
    guard index >= 0 else {
      zip_source_free(source)
      throw failure(archive, path)
    }
    // The first day of the format's calendar, as PyTorch writes it.
    let (noTime, firstDay): (zip_uint16_t, zip_uint16_t) = (0, 1 << 5 | 1)
    guard zip_set_file_compression(archive, zip_uint64_t(index), ZIP_CM_STORE, 0) == 0,
      zip_file_set_dostime(archive, zip_uint64_t(index), noTime, firstDay, 0) == 0
    else { throw failure(archive, path) }
  }

  private static func failure(_ archive: OpaquePointer, _ path: String) -> FileError {
    let error = zip_get_error(archive)
    let code = zip_error_code_system(error)
    return zip_error_system_type(error) == ZIP_ET_SYS && code != 0
      ? FileError("cannot write", path, errno: code)
      : FileError("cannot write \(path): \(String(cString: zip_strerror(archive))).")
  }
}
