import Foundation
import Model
import Programs

/// A batch as the inputs of a program: padded to the rows of its shape. Padding is of no document, so no token sees it and
/// nothing counts it.
struct PassBatch {
  /// In the order of `PassInputs`.
  let tensors: [HostTensor]

  /// - Parameters:
  ///   - lossWeights: [tokens] 0 where no loss is asked for.
  ///   - derivatives: [tokens] how much each loss counts; nil for `lossWeights`.
  ///   - documentWeights: [documents] how much each counts in the balance of experts.
  ///   - rotaryRows: [tokens] the row of the rotary table for each.
  init(
    _ batch: Batch, _ pass: PassShape, lossWeights: [Float], derivatives: [Float]? = nil, documentWeights: [Double],
    rotaryRows: [Int32], _ shape: ModelConfiguration
  ) {
    let (rows, count) = (pass.rows, batch.tokenCount)
    precondition(
      lossWeights.count == count && batch.tokens.allSatisfy { $0 >= 0 && Int($0) < shape.vocabularySize },
      "\(lossWeights.count) weights of \(count) tokens, or a token outside of the vocabulary")
    func padded<Number>(_ numbers: [Number], with last: Number) -> [Number] {
      numbers + [Number](repeating: last, count: rows - numbers.count)
    }
    // Beyond all documents, which are no more than rows.
    var documents = [Int32](repeating: Int32(rows), count: rows)
    for document in 0..<batch.documentCount {
      for row in batch.rows(ofDocument: document) { documents[row] = Int32(document) }
    }
    let asked = pass.rowsWithLoss(lossWeights)
    func ofThese<Number>(_ numbers: [Number], _ none: Number) -> [Number] {
      asked.map { $0 < count ? numbers[$0] : none }
    }
    var tensors = [
      HostTensor(integers: padded(batch.tokens, with: 0), [rows]),
      HostTensor(integers: ofThese(batch.targets, 0), [pass.lossRows]),
      HostTensor(ofThese(derivatives ?? lossWeights, 0), [pass.lossRows]),
      HostTensor(integers: documents, [rows]),
      HostTensor(integers: padded(rotaryRows, with: 0), [rows]),
    ]
    if pass.lossRows < rows { tensors.append(HostTensor(integers: asked.map(Int32.init), [pass.lossRows])) }
    if shape.isMixture {
      let scales = documentWeights.enumerated().map { document, weight in
        let length = Double(batch.rows(ofDocument: document).count)
        return Float(weight * Double(shape.expertCount) / (Double(shape.expertsPerToken) * length * length))
      }
      tensors.append(HostTensor(padded(scales, with: 0), [rows]))
    }
    precondition(batch.pictures.isEmpty, "pictures for a model that does not see")
    if pass.hasEmbedded {
      var isEmbedded = [Bool](repeating: false, count: rows)
      var values = [Float](repeating: 0, count: rows * shape.hiddenSize)
      for span in batch.embedded {
        precondition(span.columns == shape.hiddenSize, "embedded rows of \(span.columns)")
        for row in span.rows {
          isEmbedded[row] = true
          values.replaceSubrange(row * shape.hiddenSize..<(row + 1) * shape.hiddenSize, with: span.values(ofRow: row))
        }
      }
      tensors += [
        HostTensor(TensorType(.boolean, [rows, 1]), .booleans(isEmbedded)),
        HostTensor(values, [rows, shape.hiddenSize]),
      ]
    }
    self.tensors = tensors
  }
}

/// The same inputs in a program.
struct PassInputs {
  /// int32, [rows].
  let tokens: Tensor
  /// int32 and float32, [loss rows].
  let targets, lossWeights: Tensor
  /// int32, [loss rows] the numbers of the rows whose losses are asked for, beyond all rows where there are no more; nil where
  /// all rows are.
  let lossRowNumbers: Tensor?
  /// int32, [rows] the number of each row's document, and the row of the rotary table.
  let documents, rotaryRows: Tensor
  /// float32, [documents] of each by its number, what `ExpertBalance` takes; in a mixture.
  let balanceScales: Tensor?
  let embedded: Embedding.Outside?

  init(_ builder: ProgramBuilder, _ pass: PassShape, _ shape: ModelConfiguration) {
    let rows = pass.rows
    tokens = builder.input("tokens", TensorType(.int32, [rows]))
    targets = builder.input("targets", TensorType(.int32, [pass.lossRows]))
    lossWeights = builder.input("loss weights", TensorType(.float32, [pass.lossRows]))
    documents = builder.input("documents", TensorType(.int32, [rows]))
    rotaryRows = builder.input("rotary rows", TensorType(.int32, [rows]))
    lossRowNumbers =
      pass.lossRows < rows ? builder.input("loss rows", TensorType(.int32, [pass.lossRows])) : nil
    balanceScales = shape.isMixture ? builder.input("balance scales", TensorType(.float32, [rows])) : nil
    embedded =
      pass.hasEmbedded
      ? Embedding.Outside(
        isOutside: builder.input("is embedded", TensorType(.boolean, [rows, 1])),
        values: builder.input("embedded", TensorType(.float32, [rows, shape.hiddenSize]))) : nil
  }
}

extension PassShape {
  /// [lossRows] the rows whose losses are asked for, in order; beyond all rows where there are no more.
  func rowsWithLoss(_ lossWeights: [Float]) -> [Int] {
    guard lossRows < rows else { return Array(0..<rows) }
    let asked = lossWeights.indices.filter { lossWeights[$0] != 0 }
    return asked + [Int](repeating: rows, count: lossRows - asked.count)
  }
}
