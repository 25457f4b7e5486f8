import Compute
import Model
import Reference
import TestSupport
import Testing

/// The products of this build, and our own kernel even where oneDNN does the work.
struct MatrixProductTests {
  /// One way to call a product: what is transposed, the types, and how the matrices lie in memory.
  private struct Variant: CustomStringConvertible {
    var aTransposed: Bool
    var bTransposed: Bool
    var accumulates: Bool
    var type: ElementType
    var resultType: ElementType
    var layout: Layout

    var description: String {
      (aTransposed ? "Aᵀ" : "A") + (bTransposed ? "·Bᵀ" : "·B") + (accumulates ? " added" : "")
        + ", \(type) into \(resultType), \(layout)"
    }

    static let all: [Variant] = {
      var all: [Variant] = []
      for switches in 0..<8 {
        for type in ElementType.allCases {
          for resultType in ElementType.allCases where resultType == .float32 || resultType == type {
            for layout in Layout.all {
              all.append(
                Variant(
                  aTransposed: switches & 1 != 0, bTransposed: switches & 2 != 0, accumulates: switches & 4 != 0,
                  type: type, resultType: resultType, layout: layout))
            }
          }
        }
      }
      return all
    }()
  }

  /// The matrices of one product.
  private struct Case {
    let variant: Variant
    let a: GuardedMatrix
    let b: GuardedMatrix
    let c: GuardedMatrix
    let rows: Int
    let inner: Int
    let columns: Int

    init(_ variant: Variant, rows: Int, inner: Int, columns: Int, _ generator: inout SeededGenerator) {
      self.variant = variant
      (self.rows, self.inner, self.columns) = (rows, inner, columns)
      func random(_ rows: Int, _ columns: Int, _ type: ElementType) -> GuardedMatrix {
        GuardedMatrix(
          randomFloats(rows * columns, using: &generator), rows: rows, columns: columns, type: type,
          layout: variant.layout)
      }
      a = variant.aTransposed ? random(inner, rows, variant.type) : random(rows, inner, variant.type)
      b = variant.bTransposed ? random(columns, inner, variant.type) : random(inner, columns, variant.type)
      c = random(rows, columns, variant.resultType)
    }

    /// The product of some rows and columns of the result.
    func product(rows: Range<Int>? = nil, columns: Range<Int>? = nil) -> MatrixProduct {
      let (rows, columns) = (rows ?? 0..<self.rows, columns ?? 0..<self.columns)
      return MatrixProduct(
        a: variant.aTransposed ? a.view.columns(rows) : a.view.rows(rows),
        b: variant.bTransposed ? b.view.rows(columns) : b.view.columns(columns),
        c: c.view.rows(rows).columns(columns), aTransposed: variant.aTransposed, bTransposed: variant.bTransposed,
        accumulates: variant.accumulates)
    }

    /// Computes, and compares with the plain twin.
    func check(_ multiply: (MatrixProduct) -> Void) {
      func reference(_ change: (Double) -> Double) -> [Double] {
        Reference.multiply(
          a.doubles.map(change), aTransposed: variant.aTransposed, b.doubles.map(change),
          bTransposed: variant.bTransposed, rows: rows, inner: inner, columns: columns)
      }
      let before = variant.accumulates ? c.doubles : c.doubles.map { _ in 0 }
      let expected = zip(before, reference { $0 }).map { $0 + $1 }
      let size = zip(before, reference(abs)).map { abs($0) + $1 }
      multiply(product())
      // One rounding of each product added to the sum, in whatever order.
      let roundings = Double(inner + 1)
      expectClose(
        c.values, expected, storedAs: variant.resultType, errors: size.map { $0 * roundings * floatRoundoff },
        "[\(rows), \(inner)]·[\(inner), \(columns)], \(variant)")
      #expect(areIntactOutside(a, b, c), "\(variant)")
    }
  }

  @Test("the products of this build agree with the plain twin", arguments: oddSizes)
  func products(rows: Int) {
    let products = MatrixProducts()
    var generator = SeededGenerator(seed: UInt64(rows))
    for variant in Variant.all {
      let (inner, columns) = (oddSizes.randomElement(using: &generator)!, oddSizes.randomElement(using: &generator)!)
      Case(variant, rows: rows, inner: inner, columns: columns, &generator).check { product in
        products.multiply(
          product.a, aTransposed: product.aTransposed, product.b, bTransposed: product.bTransposed, into: product.c,
          accumulates: product.accumulates)
      }
    }
  }

  @Test("our own products agree with the plain twin at every small size", arguments: 1...65)
  func tiledProducts(rows: Int) {
    let products = TiledProducts()
    var generator = SeededGenerator(seed: UInt64(rows))
    for variant in Variant.all {
      let (inner, columns) = (Int.random(in: 1...65, using: &generator), Int.random(in: 1...65, using: &generator))
      Case(variant, rows: rows, inner: inner, columns: columns, &generator).check(products.multiply)
    }
  }

  @Test("our own products agree with the plain twin beyond one block", arguments: [256, 257, 512, 531, 1025])
  func blocks(inner: Int) {
    let products = TiledProducts()
    var generator = SeededGenerator(seed: UInt64(inner))
    for variant in Variant.all {
      Case(variant, rows: 7, inner: inner, columns: 83, &generator).check(products.multiply)
      Case(variant, rows: 390, inner: 33, columns: inner % 100, &generator).check(products.multiply)
    }
  }

  @Test("our own products give the same bits however rows and columns are cut", arguments: [33, 531])
  func cuts(inner: Int) {
    let products = TiledProducts()
    var generator = SeededGenerator(seed: 1)
    for variant in Variant.all {
      let matrices = Case(variant, rows: 45, inner: inner, columns: 150, &generator)
      let before = matrices.c.values
      products.multiply(matrices.product())
      let whole = matrices.c.values
      matrices.c.values = before
      for rows in [0..<1, 1..<20, 20..<45] {
        for columns in [0..<5, 5..<70, 70..<150] { products.multiply(matrices.product(rows: rows, columns: columns)) }
      }
      #expect(matrices.c.values == whole, "\(variant)")
    }
  }

  @Test("recorded products are computed again")
  func replay() {
    let products = MatrixProducts()
    let a = GuardedMatrix([1, 2, 3, 4], rows: 2, columns: 2)
    let b = GuardedMatrix([5, 6, 7, 8], rows: 2, columns: 2)
    let c = GuardedMatrix(zeros: 2, columns: 2)
    products.startRecording()
    products.multiply(a.view, b.view, into: c.view, accumulates: true)
    #expect(c.values == [19, 22, 43, 50])
    products.replay()
    #expect(c.values == [38, 44, 86, 100])
    products.stopRecording()
    products.replay()
    #expect(c.values == [38, 44, 86, 100])
  }
}
