import Foundation
import TestSupport
import Testing

import Vision

@Suite struct PictureDecoderTests {
  /// Nine by seven pixels: red 28 times the column, green 40 times the row, blue 5 times both.
  static let files: [(format: PictureHeader.Format, bytes: [UInt8])] = [
    (
      .png,
      bytes(
        "iVBORw0KGgoAAAANSUhEUgAAAAkAAAAHCAIAAABV+fA3AAAALklEQVR4nGNkYGCQwYFYGDQYGBhYsSK4HBcmQpbjR0NociLICFNOEo6wyslB"
          + "EACiUgSDilf+XgAAAABJRU5ErkJggg==")
    ),
    (
      .jpeg,
      bytes(
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMU"
          + "FRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
          + "FBQUFBQUFBT/wAARCAAHAAkDAREAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAABgf/xAAgEAAABAYDAAAAAAAAAAAAAAAAAwRB"
          + "AQIHCBETGFOR/8QAFgEBAQEAAAAAAAAAAAAAAAAABgcI/8QAIxEAAAQDCQAAAAAAAAAAAAAAAAEDBQIGEgcRFRchQVFSof/aAAwD"
          + "AQACEQMRAD8AO0hsoSK9OSSWeAlTc5m8XVbg9I1piqdGpi98E0fQR7KFuBQ8DTGaivY/R//Z")
    ),
    (.webp, bytes("UklGRjYAAABXRUJQVlA4TCoAAAAvCIABALkyRPQ/duWP6H9AQds2TOCUP8e3IRgOBWkbsLDdiQkAxMpx+ww=")),
  ]

  private static func bytes(_ base64: String) -> [UInt8] { [UInt8](Data(base64Encoded: base64)!) }

  static let expected = (0..<63).flatMap { place -> [UInt8] in
    let (column, row) = (place % 9, place / 9)
    return [UInt8(28 * column), UInt8(40 * row), UInt8(5 * column * row)]
  }

  @Test("each format is decoded", arguments: 0..<3)
  func formats(_ index: Int) throws {
    let file = Self.files[index]
    let header = try PictureHeader(file.bytes)
    #expect(header.format == file.format && header.width == 9 && header.height == 7 && !header.isInk)
    let picture = try PictureDecoder().picture(file.bytes)
    #expect(picture.width == 9 && picture.height == 7)
    let largest = zip(picture.pixels, Self.expected).map { abs(Int($0) - Int($1)) }.max()!
    #expect(largest <= (file.format == .jpeg ? 20 : 0), "\(largest)")
  }

  @Test("ten thousand damaged files of each format are read or refused, with bounded memory", arguments: 0..<3)
  func damage(_ index: Int) {
    var decoder = PictureDecoder()
    decoder.pixelLimit = 1 << 16
    var generator = SeededGenerator(seed: UInt64(index) + 1)
    var read = 0
    for _ in 0..<10_000 {
      var bytes = Self.files[index].bytes
      for _ in 0..<Int.random(in: 1...6, using: &generator) where !bytes.isEmpty {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: bytes.removeLast(bytes.count - place)
        case 1: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
        case 2: bytes.remove(at: place)
        case 3: bytes[place] = [0, 0x7F, 0x80, 0xFF].randomElement(using: &generator)!
        default: bytes[place] = UInt8.random(in: 0...255, using: &generator)
        }
      }
      guard let picture = try? decoder.picture(bytes) else { continue }
      read += 1
      #expect(picture.width * picture.height <= decoder.pixelLimit)
    }
    #expect(read > 50, "\(read) were read: the damage is too large to say anything")
  }

  @Test("too many bytes or pixels are refused before anything is decoded")
  func limits() throws {
    var decoder = PictureDecoder()
    decoder.byteLimit = 50
    #expect(throws: PictureError.self) { try decoder.picture(Self.files[0].bytes) }
    decoder.byteLimit = 1000
    decoder.pixelLimit = 62
    for file in Self.files {
      let error = #expect(throws: PictureError.self) { try decoder.picture(file.bytes) }
      #expect(error?.description.hasPrefix("has 9 × 7 pixels") == true)
    }
  }

  @Test("every way of holding a camera comes out upright")
  func orientations() {
    // 1 2 3
    // 4 5 6
    let picture = Picture(width: 3, height: 2, pixels: (1...6).flatMap { [$0, 0, 0] as [UInt8] })
    let expected: [PictureHeader.Orientation: [[UInt8]]] = [
      .upright: [[1, 2, 3], [4, 5, 6]], .mirrored: [[3, 2, 1], [6, 5, 4]], .upsideDown: [[6, 5, 4], [3, 2, 1]],
      .upsideDownMirrored: [[4, 5, 6], [1, 2, 3]], .transposed: [[1, 4], [2, 5], [3, 6]],
      .turnedRight: [[4, 1], [5, 2], [6, 3]], .transversed: [[6, 3], [5, 2], [4, 1]],
      .turnedLeft: [[3, 6], [2, 5], [1, 4]],
    ]
    for (orientation, rows) in expected {
      let turned = picture.turned(orientation)
      #expect(turned.width == rows[0].count && turned.height == rows.count)
      #expect(stride(from: 0, to: 18, by: 3).map { turned.pixels[$0] } == rows.flatMap { $0 })
    }
  }

  @Test("a picture that would become very long is refused")
  func narrow() throws {
    var processor = PictureProcessor()
    processor.size = .shortestEdge(224)
    let line = Picture(width: 1, height: 3000, pixels: [UInt8](repeating: 7, count: 9000))
    let error = #expect(throws: PictureError.self) { try processor.values(line) }
    #expect(error?.description.contains("224 × 672000 pixels") == true)
  }
}
