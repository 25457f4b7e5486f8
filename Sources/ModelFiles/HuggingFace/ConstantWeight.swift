import Model

/// A weight that `transformers` has in a model and this program has not, since it says nothing there: it is written as it must
/// be, and refused on reading where it is otherwise.
struct ConstantWeight {
  enum Content {
    case zeros
    /// Ones on the diagonal of a square matrix.
    case identity
  }

  let name: String
  let shape: [Int]
  let content: Content
  /// Whether it is stored in fp32 whatever the type of the others.
  let isExact: Bool
  /// What a message says of one that is otherwise.
  let reason: String

  var values: [Float] {
    var values = [Float](repeating: 0, count: shape.reduce(1, *))
    if content == .identity { for index in 0..<shape[0] { values[index * shape[0] + index] = 1 } }
    return values
  }
}

extension ModelConfiguration {
  /// What Ernie adds to its routers' probabilities, by layer; and the second matrix of LLaVA's projector where this program's
  /// has one.
  var constantWeights: [ConstantWeight] {
    let biases =
      Architecture(self) != .ernieMixture
      ? []
      : (0..<layerCount).map {
        ConstantWeight(
          name: ParameterKey.Layer($0).routerBias, shape: [1, expertCount], content: .zeros, isExact: true,
          reason: "is not zero; routers choose by probability alone here")
      }
    guard let sight, sight.projector.kind == .linear else { return biases }
    let (name, width) = ("multi_modal_projector.linear_2", hiddenSize)
    let reason =
      "is not that of a projector of one matrix, as \(HuggingFaceConfig.noActivation) in projector_hidden_act means"
    return biases + [
      ConstantWeight(
        name: name + ".weight", shape: [width, width], content: .identity, isExact: false, reason: reason),
      ConstantWeight(name: name + ".bias", shape: [width], content: .zeros, isExact: false, reason: reason),
    ]
  }
}
