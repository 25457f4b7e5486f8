import Programs

/// How evenly the tokens of documents are spread over the experts: DeepSeek-V2 (arXiv 2405.04434), the expert-level balance
/// loss. For the T tokens of a document that take k of E experts each,
///
///     fₑ = (choices of expert e) · E / (k·T)        Pₑ = mean of pₑ        balance = Σₑ fₑ·Pₑ
///
/// f is a count and has no gradient; that of P is p̄ₜₑ = fₑ/T.
package struct ExpertBalance {
  private let documents, scales: Tensor
  /// [documents, experts]
  private let counts: Tensor
  /// Σ over documents of weight · balance: [1, 1].
  package let sum: Tensor
  /// [1, experts] the choices of each expert, by all tokens of documents.
  package var choices: Tensor { counts.sum(0) }

  /// - Parameters:
  ///   - documents: int32, [tokens] the number of each token's document; one that is no document's is beyond the scales.
  ///   - scales: [documents] of each by its number, its weight · E / (k·T²).
  package init(_ router: Router, documents: Tensor, scales: Tensor) {
    let zeros = scales.builder.constant(
      0, TensorType(.float32, [scales.shape[0], router.probabilities.shape[1]]))
    self.documents = documents
    self.scales = scales.reshaped([scales.shape[0], 1])
    counts = router.choices.reduce(zeros) { $0.adding($1, toRows: documents) }
    let probabilities = zeros.adding(router.probabilities, toRows: documents)
    sum = (self.scales * counts * probabilities).sum(1).sum(0)
  }

  /// The gradient of `weight` · `sum` with respect to the probabilities, [tokens, experts]. Tokens of no document get some
  /// other's, which is harmless where all scales without a document are 0.
  package func backward(weight: Double) -> Tensor { (scales * counts * weight).rows(documents) }
}
