import CKernels
import Machine
import Model
import VectorMath

/// The numbers of one step of Muon.
package struct MuonStep: Sendable {
  package var learningRate: Float
  /// How much of the last mean of the gradient stays in the new one.
  package var momentum: Float
  /// Decoupled weight decay: applied to the weights themselves, times the learning rate.
  package var weightDecay: Float
  /// What the gradients are multiplied by first: clipping, and the division by the summed loss weights.
  package var gradientScale: Float

  package init(learningRate: Float, momentum: Float = 0.95, weightDecay: Float, gradientScale: Float) {
    self.learningRate = learningRate
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.gradientScale = gradientScale
  }
}

/// Muon: momentum whose singular values are all made about 1 before it moves a matrix (Jordan et al. 2024,
/// https://kellerjordan.github.io/posts/muon/).
///
///     m ← μ·m + (1 - μ)·g        u = μ·m + (1 - μ)·g        (Nesterov: the new mean, looking one gradient ahead)
///     W ← W·(1 - η·λ) - η·0.2·√(max(rows, columns)) · orthogonal(u)
///
/// The factor gives an update the root mean square that AdamW's have, so that a learning rate and a decay that suit AdamW
/// suit Muon (Liu et al. 2025, arXiv 2502.16982, equation 4).
///
/// An object holds the scratch of one worker, which takes one matrix after the other. It is not to be used by two
/// threads at once.
package final class Muon {
  private let type: ElementType
  private let largestCount: Int
  private let largestSide: Int
  /// The matrix before and after an iteration, then the two of its shorter side's square.
  private let buffer: AlignedBuffer

  /// - Parameters:
  ///   - shapes: rows and columns of the matrices to come.
  ///   - type: what the products of the iteration take.
  package init(shapes: [(rows: Int, columns: Int)], type: ElementType) throws(OutOfMemoryError) {
    self.type = type
    (largestCount, largestSide) = Self.largest(shapes)
    buffer = try AlignedBuffer(byteCount: Self.byteCount(shapes: shapes, type: type))
  }

  /// Bytes of scratch for matrices of such shapes.
  package static func byteCount(shapes: [(rows: Int, columns: Int)], type: ElementType) -> Int {
    let (count, side) = largest(shapes)
    return 2 * (count + side * side) * type.byteCount
  }

  /// Multiplications and additions of one step's products, for sharing matrices out.
  package static func operationCount(rows: Int, columns: Int) -> Int {
    let side = min(rows, columns)
    return iterations * 2 * side * side * (2 * max(rows, columns) + side)
  }

  /// The most elements of a matrix, a multiple of 32 so that what follows is aligned, and the longest shorter side.
  private static func largest(_ shapes: [(rows: Int, columns: Int)]) -> (count: Int, side: Int) {
    let count = shapes.reduce(1) { max($0, $1.rows * $1.columns) }
    return ((count + 31) / 32 * 32, shapes.reduce(1) { max($0, min($1.rows, $1.columns)) })
  }

  /// One step for one matrix.
  ///
  /// - Parameters:
  ///   - weights: W, [rows, columns], updated.
  ///   - gradients: g, [rows, columns], before `gradientScale`.
  ///   - momentum: m, [rows, columns], updated; zero before the first step.
  ///   - workingCopy: [rows, columns], overwritten with the new weights; nil if there is none.
  ///   - products: the calling worker's.
  package func step(
    weights: UnsafeMutablePointer<Float>, gradients: UnsafePointer<Float>, momentum: UnsafeMutablePointer<Float>,
    workingCopy: UnsafeMutablePointer<BFloat16>?, rows: Int, columns: Int, settings: MuonStep, products: MatrixProducts
  ) {
    precondition(
      rows > 0 && columns > 0 && rows * columns <= largestCount && min(rows, columns) <= largestSide,
      "[\(rows), \(columns)] in scratch for \(largestCount) elements")
    let matrix = MatrixView(buffer.base, rows: rows, columns: columns, type: type)
    let scale = settings.learningRate * 0.2 * Float(max(rows, columns)).squareRoot()
    switch type {
    case .float32:
      accumulate(gradients, momentum, into: matrix.floats, count: rows * columns, settings)
      move(
        weights, against: orthogonalize(matrix, products).floats, workingCopy, count: rows * columns, scale: scale,
        decay: settings.learningRate * settings.weightDecay)
    case .bfloat16:
      accumulate(gradients, momentum, into: matrix.row(0, of: BFloat16.self), count: rows * columns, settings)
      move(
        weights, against: orthogonalize(matrix, products).row(0, of: BFloat16.self), workingCopy,
        count: rows * columns, scale: scale, decay: settings.learningRate * settings.weightDecay)
    }
  }

  /// Updates the momentum, and writes u/‖u‖, whose singular values are at most 1.
  private func accumulate<Element: VectorElement>(
    _ gradients: UnsafePointer<Float>, _ momentum: UnsafeMutablePointer<Float>,
    into matrix: UnsafeMutablePointer<Element>, count: Int, _ settings: MuonStep
  ) {
    let (kept, gradientShare) = (settings.momentum, 1 - settings.momentum)
    let gradientScale = settings.gradientScale
    @inline(__always) func ahead(_ start: Int, _ lanes: Int) -> SIMD16<Float> {
      let gradient = Float.load(gradients + start, lanes) * (gradientShare * gradientScale)
      return gradient.addingProduct(Float.load(momentum + start, lanes), SIMD16(repeating: kept))
    }
    var squares = 0.0
    for block in stride(from: 0, to: count, by: 1024) {
      var sums = FourSums()
      @inline(__always) func update(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
        // The mean moves to `ahead`, and the update looks one more such move ahead.
        Float.store(ahead(block + start, lanes), to: momentum + block + start, lanes)
        let value = ahead(block + start, lanes)
        sum.addProduct(value, value)
      }
      sums.add(min(1024, count - block), update)
      squares += Double(sums.total)
    }
    // PyTorch's guard against a gradient of nothing.
    let factor = Float(1 / max(squares.squareRoot(), 1e-7))
    @inline(__always) func normalize(_ start: Int, _ lanes: Int) {
      Element.store(ahead(start, lanes) * factor, to: matrix + start, lanes)
    }
    forEachSixteen(count, normalize)
  }

  private func move<Element: VectorElement>(
    _ weights: UnsafeMutablePointer<Float>, against update: UnsafeMutablePointer<Element>,
    _ workingCopy: UnsafeMutablePointer<BFloat16>?, count: Int, scale: Float, decay: Float
  ) {
    @inline(__always) func move(_ start: Int, _ lanes: Int) {
      let weight = Float.load(weights + start, lanes)
      let moved = weight.addingProduct(weight, SIMD16(repeating: -decay)) - Element.load(update + start, lanes) * scale
      Float.store(moved, to: weights + start, lanes)
      if let workingCopy { BFloat16.store(moved, to: workingCopy + start, lanes) }
    }
    forEachSixteen(count, move)
  }

  // MARK: - Newton–Schulz

  private static let iterations = 5
  /// p(s) = a·s + b·s³ + c·s⁵, chosen for its slope at 0: five times in succession it takes any s from 0.0015 to 1 into
  /// 0.68 to 1.21, which is near enough to 1.
  private static let coefficients: (a: Float, b: Float, c: Float) = (3.4445, -4.7750, 2.0315)

  /// Brings the singular values of X near 1 and leaves its singular vectors, by p applied five times. For the shorter side
  /// on the left,
  ///
  ///     X ← (a·I + b·G + c·G²)·X    with G = X·Xᵀ
  ///
  /// is p of every singular value; for a tall X the same with G = Xᵀ·X on the right. Three products an iteration, two of
  /// them of the shorter side's square.
  ///
  /// - Parameter matrix: X, at the start of the scratch; overwritten.
  /// - Returns: where the result is, in the scratch.
  private func orthogonalize(_ matrix: MatrixView, _ products: MatrixProducts) -> MatrixView {
    let isTall = matrix.rows > matrix.columns
    let side = min(matrix.rows, matrix.columns)
    func place(_ elements: Int, _ rows: Int, _ columns: Int) -> MatrixView {
      MatrixView(buffer.base + elements * type.byteCount, rows: rows, columns: columns, type: type)
    }
    var (current, next) = (matrix, place(largestCount, matrix.rows, matrix.columns))
    let gram = place(2 * largestCount, side, side)
    let polynomial = place(2 * largestCount + side * side, side, side)
    for _ in 0..<Self.iterations {
      products.multiply(current, aTransposed: isTall, current, bTransposed: !isTall, into: gram)
      products.multiply(gram, gram, into: polynomial)
      switch type {
      case .float32: Self.evaluate(gram, square: polynomial, as: Float.self)
      case .bfloat16: Self.evaluate(gram, square: polynomial, as: BFloat16.self)
      }
      if isTall {
        products.multiply(current, polynomial, into: next)
      } else {
        products.multiply(polynomial, current, into: next)
      }
      swap(&current, &next)
    }
    return current
  }

  /// a·I + b·G + c·G², in the place of G².
  private static func evaluate<Element: VectorElement>(_ gram: MatrixView, square: MatrixView, as: Element.Type) {
    let (a, b, c) = coefficients
    for index in 0..<gram.rows {
      let from = gram.row(index, of: Element.self)
      let to = square.row(index, of: Element.self)
      // The diagonal is rounded once, with a in it.
      let diagonal = a + b * Element.load(from + index, 1)[0] + c * Element.load(to + index, 1)[0]
      @inline(__always) func combine(_ start: Int, _ lanes: Int) {
        let value = (Element.load(from + start, lanes) * b)
          .addingProduct(Element.load(to + start, lanes), SIMD16(repeating: c))
        Element.store(value, to: to + start, lanes)
      }
      forEachSixteen(gram.columns, combine)
      Element.store(SIMD16(repeating: diagonal), to: to + index, 1)
    }
  }
}
