import Foundation
import Storage

/// Event files for TensorBoard: a directory of them, one a session of the run.
///
/// A file is a sequence of TFRecords, each an `Event` of tensorflow/core/util/event.proto. The first gives the version;
/// on a resumed run the second marks the first step of the new session, upon which TensorBoard drops what an earlier
/// session has written for this step and later ones.
package final class TensorBoardFile: MetricsSink {
  private let file: GrowingFile

  /// - Parameters:
  ///   - directory: made when it is missing.
  ///   - step: the last one that earlier sessions have kept; negative for a new run.
  package init(_ directory: String, resumingAfter step: Int) throws {
    try createDirectory(directory)
    let now = Int(Date().timeIntervalSince1970)
    // TensorBoard reads the files in the order of their names, so those of one second need a number.
    let stem = "\(directory)/events.out.tfevents.\(now)."
    let number = (0...).first { !FileManager.default.fileExists(atPath: "\(stem)\($0).minimind") }!
    file = try GrowingFile("\(stem)\(number).minimind")
    try write { $0.string(3, "brain.Event:2") }
    guard step >= 0 else { return }
    try write {
      $0.integer(2, step + 1)
      $0.message(7) { $0.integer(1, 1) }  // SessionLog.status = START
    }
  }

  package func record(_ event: TrainingEvent) throws {
    if case .samples(let report) = event { return try write(report) }
    guard let (step, values) = event.metrics else { return }
    try write { message in
      message.integer(2, step)
      message.message(5) { summary in
        for value in values {
          guard let number = value.value.doubleValue else { continue }
          summary.message(1) {
            $0.string(1, value.key)
            $0.float(2, Float(number))
          }
        }
      }
    }
  }

  /// Samples as text, in the Markdown that TensorBoard's text page shows.
  private func write(_ report: SampleReport) throws {
    try write { message in
      message.integer(2, report.step)
      message.message(5) { summary in
        for (index, sample) in report.samples.enumerated() {
          summary.message(1) { value in
            value.string(1, "samples/\(index + 1)")
            value.message(9) { $0.message(1) { $0.string(1, "text") } }  // metadata.plugin_data.plugin_name
            value.message(8) { tensor in
              tensor.integer(1, 7)  // DT_STRING
              tensor.message(2) { $0.message(2) { $0.integer(1, 1) } }  // a shape of one dimension of size 1
              tensor.string(8, "**\(sample.prompt)** \(sample.continuation)")
            }
          }
        }
      }
    }
  }

  /// Writes an event: the time, and what `body` adds.
  private func write(_ body: (inout ProtocolBuffer) -> Void) throws {
    var message = ProtocolBuffer()
    message.double(1, Date().timeIntervalSince1970)
    body(&message)
    try file.write(Self.record(message.bytes))
  }

  /// A TFRecord: the length, its checksum, the bytes, theirs. Little-endian.
  private static func record(_ bytes: [UInt8]) -> [UInt8] {
    let length = littleEndian(UInt64(bytes.count))
    return length + littleEndian(CRC32C.masked(length)) + bytes + littleEndian(CRC32C.masked(bytes))
  }
}

private func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// The few parts of Protocol Buffers' encoding that an event needs (protobuf.dev/programming-guides/encoding).
private struct ProtocolBuffer {
  private(set) var bytes: [UInt8] = []

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private mutating func key(_ field: UInt64, wireType: UInt64) { varint(field << 3 | wireType) }

  mutating func integer(_ field: UInt64, _ value: Int) {
    key(field, wireType: 0)
    varint(UInt64(bitPattern: Int64(value)))
  }

  mutating func double(_ field: UInt64, _ value: Double) {
    key(field, wireType: 1)
    bytes += littleEndian(value.bitPattern)
  }

  mutating func float(_ field: UInt64, _ value: Float) {
    key(field, wireType: 5)
    bytes += littleEndian(value.bitPattern)
  }

  private mutating func delimited(_ field: UInt64, _ content: some Collection<UInt8>) {
    key(field, wireType: 2)
    varint(UInt64(content.count))
    bytes += content
  }

  mutating func string(_ field: UInt64, _ text: String) { delimited(field, text.utf8) }

  mutating func message(_ field: UInt64, _ body: (inout ProtocolBuffer) -> Void) {
    var inner = ProtocolBuffer()
    body(&inner)
    delimited(field, inner.bytes)
  }
}

/// The checksum of TFRecords: CRC-32C (Castagnoli, RFC 3720 B.4), and the mask that tensorflow/core/lib/hash/crc32c.h
/// puts on it, so that a checksum of checksums stays a good one.
package enum CRC32C {
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { value, _ in value >> 1 ^ (value & 1 == 1 ? 0x82F6_3B78 : 0) }
  }

  package static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(UInt32.max) { value, byte in table[Int((value ^ UInt32(byte)) & 0xFF)] ^ value >> 8 }
  }

  static func masked(_ bytes: [UInt8]) -> UInt32 {
    let value = checksum(bytes)
    return (value >> 15 | value << 17) &+ 0xA282_EAD8
  }
}
