import CImages

extension Picture {
  /// The picture as a file in PNG. The pixels that it holds are these; its bytes depend on the version of libpng and zlib.
  ///
  /// - Throws: `PictureError.outOfMemory`.
  package func png() throws(PictureError) -> [UInt8] {
    var count = minimind_png_limit(UInt32(width), UInt32(height))
    var file = [UInt8](repeating: 0, count: count)
    guard minimind_encode_png(pixels, UInt32(width), UInt32(height), &file, &count) == MINIMIND_IMAGE_DECODED else {
      throw .outOfMemory(width: width, height: height)
    }
    file.removeLast(file.count - count)
    return file
  }
}
