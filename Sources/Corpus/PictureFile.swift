import Foundation
import Model
import Storage
import Vision

/// The prepared pictures of a data set, mapped into memory. The file, little-endian:
///
///     header    64 bytes: "MMPICTUR", version, side, count, and of features rows, hiddenSize and bytes of a number
///               (UInt32 each), zeros
///     pictures  count × [3, side, side] bytes: red, green and blue of each pixel, resized and cut, not yet normalised;
///               or count × [rows, hiddenSize] numbers in fp32 or bf16: what a tower that does not learn made of them
package final class PictureFile: Sendable {
  static let fileSuffix = ".pictures"
  static let name = "pictures" + fileSuffix
  private static let magic = Array("MMPICTUR".utf8)
  private static let version: UInt32 = 1
  private static let headerBytes = 64

  private let file: MappedFile
  private let settings: DataManifest.Pictures
  private let processor: PictureProcessor

  static func header(side: Int, count: Int, _ features: DataManifest.Features?) -> [UInt8] {
    var bytes = magic
    let shape = features.map { [$0.rows, $0.hiddenSize, $0.type.byteCount].map(UInt32.init) } ?? []
    for number in [version, UInt32(side), UInt32(count)] + shape {
      withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
    }
    return bytes + [UInt8](repeating: 0, count: headerBytes - bytes.count)
  }

  /// - Throws: `FileError`; `CorpusError` for a file that is damaged, or another than the manifest says.
  init(_ path: String, _ settings: DataManifest.Pictures) throws {
    func broken(_ what: String) -> CorpusError { CorpusError("\(path): \(what). Prepare the data again.") }
    guard (1...PictureProcessor.longestSide).contains(settings.side), (0...1 << 31).contains(settings.count),
      settings.mean.count == 3, settings.deviation.count == 3, settings.deviation.allSatisfy({ $0 > 0 }),
      (1...1 << 14).contains(settings.placeholder.count), settings.features?.isPossible ?? true
    else { throw broken("the manifest describes pictures that are not possible") }
    file = try MappedFile(path)
    self.settings = settings
    var processor = PictureProcessor()
    (processor.rescaling, processor.mean, processor.deviation) = (
      settings.rescaling, settings.mean, settings.deviation
    )
    self.processor = processor
    let header = Self.header(side: settings.side, count: settings.count, settings.features)
    guard
      file.bytes.prefix(Self.headerBytes).elementsEqual(header),
      file.bytes.count == Self.headerBytes + settings.count * settings.pictureBytes
    else { throw broken("the file has not the \(settings.count) pictures that the manifest says") }
    let pixels = UnsafeRawBufferPointer(rebasing: file.bytes[Self.headerBytes...])
    guard SHA256.hexadecimalDigest(pixels) == settings.digest else {
      throw broken("the file is damaged (its digest does not match)")
    }
  }

  /// Tokens that stand for a picture.
  var rows: Int { settings.placeholder.count }
  var count: Int { settings.count }

  /// A picture as a tower sees it, or what it made of it.
  func values(_ number: Int) -> BatchPicture.Values {
    precondition(number >= 0 && number < count, "picture \(number) of \(count)")
    let start = Self.headerBytes + number * settings.pictureBytes
    let bytes = file.bytes[start..<start + settings.pictureBytes]
    guard let features = settings.features else { return .pixels(processor.values(ofPlanes: bytes)) }
    return .features(features.values(UnsafeRawBufferPointer(rebasing: bytes)))
  }
}

extension DataManifest {
  /// The pictures of the data: how they were prepared, and what is still to be done before a tower sees them.
  package struct Pictures: Codable, Equatable, Sendable {
    package var file: String
    package var count: Int
    /// Pixels of a picture's width and height.
    package var side: Int
    /// The tokens that stand for a picture.
    package var placeholder: [Int32]
    /// What a byte is multiplied by, what is then subtracted from each channel, and what the rest is divided by.
    package var rescaling: Double
    package var mean: [Double]
    package var deviation: [Double]
    /// SHA-256 of the bytes of all pictures.
    package var digest: String
    /// What is kept of them in place of their pixels; nil for those.
    package var features: Features?

    /// Bytes of a picture in the file.
    package var pictureBytes: Int { features?.byteCount ?? 3 * side * side }

    /// Whether a tower gets the same values by another processor, once a picture has its size.
    package func isNormalized(as processor: PictureProcessor) -> Bool {
      rescaling == processor.rescaling && mean == processor.mean && deviation == processor.deviation
    }

    init(_ settings: PictureSettings, count: Int, digest: String) {
      file = PictureFile.name
      self.count = count
      side = settings.side
      placeholder = settings.placeholder
      rescaling = settings.processor.rescaling
      mean = settings.processor.mean
      deviation = settings.processor.deviation
      features = settings.features?.layout
      self.digest = digest
    }
  }
}
