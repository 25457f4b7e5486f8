import Compute
import Model
import TestSupport
import Testing

/// Widths around every step of sixteen and sixty-four lanes.
let oddSizes = [1, 3, 7, 15, 16, 17, 31, 33, 48, 63, 64, 65, 130]

/// How a matrix lies in memory: elements between its rows, and elements from an aligned address to its start.
struct Layout: Sendable, CustomStringConvertible {
  var gap: Int
  var offset: Int
  var description: String { "gap \(gap), offset \(offset)" }

  static let dense = Layout(gap: 0, offset: 0)
  static let all = [dense, Layout(gap: 5, offset: 1)]
}

/// A matrix with memory of its own that knows whether anything was written outside its elements.
final class GuardedMatrix {
  let view: MatrixView
  private let memory: UnsafeMutableRawBufferPointer
  private let guardByte: UInt8
  private static let guardBytes = 256

  /// - Parameters:
  ///   - values: row-major without gaps, rounded to `type`.
  ///   - guardByte: fills all other memory; 0xFF makes NaNs, so that a number from there shows in every result.
  init(
    _ values: [Float], rows: Int, columns: Int, type: ElementType = .float32, layout: Layout = .dense,
    guardByte: UInt8 = 0xFF
  ) {
    precondition(values.count == rows * columns)
    let stride = columns + layout.gap
    let start = Self.guardBytes + layout.offset * type.byteCount
    memory = .allocate(byteCount: start + rows * stride * type.byteCount + Self.guardBytes, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: guardByte)
    self.guardByte = guardByte
    view = MatrixView(memory.baseAddress! + start, rows: rows, columns: columns, rowStride: stride, type: type)
    self.values = values
  }

  convenience init(
    zeros rows: Int, columns: Int, type: ElementType = .float32, layout: Layout = .dense, guardByte: UInt8 = 0xFF
  ) {
    self.init(
      [Float](repeating: 0, count: rows * columns), rows: rows, columns: columns, type: type, layout: layout,
      guardByte: guardByte)
  }

  deinit { memory.deallocate() }

  /// The elements, row-major without gaps.
  var values: [Float] {
    get {
      addresses.map { address in
        switch view.type {
        case .float32: address.load(as: Float.self)
        case .bfloat16: BFloat16(bitPattern: address.load(as: UInt16.self)).float
        }
      }
    }
    set {
      for (address, value) in zip(addresses, newValue) {
        switch view.type {
        case .float32: address.storeBytes(of: value, as: Float.self)
        case .bfloat16: address.storeBytes(of: BFloat16(value).bitPattern, as: UInt16.self)
        }
      }
    }
  }

  /// The elements as the plain twins take them.
  var doubles: [Double] { values.map(Double.init) }

  /// Only for float32.
  var floats: UnsafeMutablePointer<Float> { view.floats }

  /// The bytes before, after and between the rows are as they were.
  var isIntactOutside: Bool {
    var outside = [Bool](repeating: true, count: memory.count)
    for address in addresses {
      let start = address - UnsafeMutableRawPointer(memory.baseAddress!)
      for byte in start..<start + view.type.byteCount { outside[byte] = false }
    }
    return zip(outside, memory).allSatisfy { !$0 || $1 == guardByte }
  }

  private var addresses: [UnsafeMutableRawPointer] {
    (0..<view.rows).flatMap { row in
      (0..<view.columns).map { view.row(row) + $0 * view.type.byteCount }
    }
  }
}

/// Nothing was written outside the elements of any of these.
func areIntactOutside(_ matrices: GuardedMatrix...) -> Bool { matrices.allSatisfy(\.isIntactOutside) }

func randomFloats(
  _ count: Int, in range: ClosedRange<Float> = -2...2, using generator: inout SeededGenerator
) -> [Float] {
  (0..<count).map { _ in Float.random(in: range, using: &generator) }
}

/// The largest relative error of one operation in Float.
let floatRoundoff = 0x1p-24

extension ElementType {
  /// The largest relative error of rounding to this type: half a unit in the last of 24 or 8 bits.
  var roundoff: Double { self == .float32 ? floatRoundoff : 0x1p-8 }
}

/// Every element is within its tolerance of what is expected; a failure names the worst one.
///
/// - Parameters:
///   - type: how `actual` was stored; its rounding is allowed on top of `errors`.
///   - errors: for each element what its arithmetic may have lost, from a named number of roundings times the size of
///     what was added up.
func expectClose(
  _ actual: [Float], _ expected: [Double], storedAs type: ElementType = .float32, errors: [Double], _ name: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  guard actual.count == expected.count, errors.count == expected.count else {
    Issue.record("\(name): \(actual.count) values, expected \(expected.count)", sourceLocation: sourceLocation)
    return
  }
  var outside = 0
  var worst = (index: 0, excess: 0.0, tolerance: 0.0)
  for index in expected.indices {
    // 2e-38: smaller results are subnormal, which kernels may take for zero.
    let tolerance = errors[index] + type.roundoff * (abs(expected[index]) + errors[index]) + 2e-38
    let difference = abs(Double(actual[index]) - expected[index])
    if difference <= tolerance { continue }
    outside += 1
    let excess = difference.isNaN ? .infinity : difference / tolerance
    if excess > worst.excess { worst = (index, excess, tolerance) }
  }
  if outside > 0 {
    Issue.record(
      """
      \(name): \(outside) of \(expected.count) values are outside; the worst, at \(worst.index), is \
      \(actual[worst.index]), expected \(expected[worst.index]) ± \(worst.tolerance)
      """, sourceLocation: sourceLocation)
  }
}

/// The same, with one error for all elements.
func expectClose(
  _ actual: [Float], _ expected: [Double], storedAs type: ElementType = .float32, error: Double, _ name: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  expectClose(
    actual, expected, storedAs: type, errors: [Double](repeating: error, count: expected.count), name,
    sourceLocation: sourceLocation)
}

/// Σ a·b, the loss whose gradient with respect to `a` is `b`.
func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
