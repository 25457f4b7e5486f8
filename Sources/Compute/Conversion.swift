import Model
import VectorMath

/// target = source, rounded to the target's type; of one type, a copy. The views must not overlap.
///
/// - Parameters:
///   - source: [rows, columns].
///   - target: [rows, columns], overwritten.
package func convert(_ source: MatrixView, to target: MatrixView) {
  checkSameShape(source, target)
  switch (source.type, target.type) {
  case (.float32, .bfloat16): convert(source, target, Float.self, BFloat16.self)
  case (.bfloat16, .float32): convert(source, target, BFloat16.self, Float.self)
  case (.float32, .float32), (.bfloat16, .bfloat16):
    for row in 0..<source.rows {
      target.row(row).copyMemory(from: source.row(row), byteCount: source.columns * source.type.byteCount)
    }
  }
}

/// target += source, element by element.
///
/// - Parameters:
///   - source: [rows, columns], of either type.
///   - target: [rows, columns], float32, added to.
package func addRows(_ source: MatrixView, into target: MatrixView) {
  checkSameShape(source, target)
  precondition(target.type == .float32, "a sum of type \(target.type)")
  switch source.type {
  case .float32: addRows(source, target, Float.self)
  case .bfloat16: addRows(source, target, BFloat16.self)
  }
}

/// matrix *= factor, in place.
///
/// - Parameter matrix: [rows, columns], of either type.
package func scale(_ matrix: MatrixView, by factor: Float) {
  switch matrix.type {
  case .float32: scale(matrix, factor, Float.self)
  case .bfloat16: scale(matrix, factor, BFloat16.self)
  }
}

private func checkSameShape(_ source: MatrixView, _ target: MatrixView) {
  precondition(
    source.rows == target.rows && source.columns == target.columns,
    "[\(source.rows), \(source.columns)] into [\(target.rows), \(target.columns)]")
}

private func convert<Source: VectorElement, Target: VectorElement>(
  _ source: MatrixView, _ target: MatrixView, _: Source.Type, _: Target.Type
) {
  for row in 0..<source.rows {
    let from = UnsafePointer(source.row(row, of: Source.self))
    let to = target.row(row, of: Target.self)
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      Target.store(Source.load(from + start, lanes), to: to + start, lanes)
    }
    forEachSixteen(source.columns, step)
  }
}

private func addRows<Source: VectorElement>(_ source: MatrixView, _ target: MatrixView, _: Source.Type) {
  for row in 0..<source.rows {
    let from = UnsafePointer(source.row(row, of: Source.self))
    let to = target.row(row, of: Float.self)
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      Float.store(Float.load(to + start, lanes) + Source.load(from + start, lanes), to: to + start, lanes)
    }
    forEachSixteen(source.columns, step)
  }
}

private func scale<Element: VectorElement>(_ matrix: MatrixView, _ factor: Float, _: Element.Type) {
  for row in 0..<matrix.rows {
    let values = matrix.row(row, of: Element.self)
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      Element.store(Element.load(values + start, lanes) * factor, to: values + start, lanes)
    }
    forEachSixteen(matrix.columns, step)
  }
}
