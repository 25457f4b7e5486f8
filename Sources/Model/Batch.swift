/// Whole documents one after another, without padding: what a source makes and an engine takes.
///
/// Row i of a document reads its token i and predicts token i + 1 of the same document; a document's last token predicts
/// nothing and has no row. Reused from batch to batch, the arrays keep their memory.
package struct Batch: Sendable, Equatable {
  /// [tokens] ids that the model reads.
  package private(set) var tokens: [Int32] = []
  /// [tokens] the token after each, within the same document.
  package private(set) var targets: [Int32] = []
  /// [tokens] how much the prediction of each target counts: 0 where nothing is to be learned, such as the prompt of a
  /// conversation. Rows of weight 0 skip the output layer.
  package private(set) var lossWeights: [Float] = []
  /// [documents + 1] where each document starts in `tokens`, and the end.
  package private(set) var documentOffsets: [Int32] = [0]
  /// [documents] the number of each in its split; empty where the documents come from elsewhere.
  package private(set) var documentNumbers: [Int] = []
  /// Rows whose values do not come from the embedding table, in ascending order.
  package private(set) var embedded: [EmbeddedSpan] = []
  /// Pictures whose rows the engine computes, in ascending order.
  package private(set) var pictures: [BatchPicture] = []
  /// What a teacher has said of the rows whose loss weight is not 0, in their order; nil where nothing of that is stored. Set once
  /// the documents are complete, or row by row as they come.
  package var teacherRows: LargestProbabilities?
  private var tokenColumns: [TokenColumn: [Float]] = [:]
  private var documentColumns: [DocumentColumn: [Float]] = [:]

  package init() {}

  /// A batch with targets of the caller's choice, rather than the tokens that follow.
  ///
  /// - Precondition: `targets` and `lossWeights` are [tokens]; the offsets rise from 0 to the number of tokens;
  ///   `documentNumbers` is [documents] or empty.
  package init(
    tokens: [Int32], targets: [Int32], lossWeights: [Float], documentOffsets: [Int32], documentNumbers: [Int] = []
  ) {
    precondition(
      targets.count == tokens.count && lossWeights.count == tokens.count,
      "\(tokens.count) tokens, \(targets.count) targets, \(lossWeights.count) loss weights")
    precondition(
      documentOffsets.first == 0 && documentOffsets.last == Int32(tokens.count)
        && zip(documentOffsets, documentOffsets.dropFirst()).allSatisfy { $0 < $1 },
      "the document offsets \(documentOffsets) do not cover \(tokens.count) tokens")
    precondition(
      documentNumbers.isEmpty || documentNumbers.count == documentOffsets.count - 1,
      "\(documentNumbers.count) numbers for \(documentOffsets.count - 1) documents")
    self.tokens = tokens
    self.targets = targets
    self.lossWeights = lossWeights
    self.documentOffsets = documentOffsets
    self.documentNumbers = documentNumbers
  }

  package var tokenCount: Int { tokens.count }
  package var documentCount: Int { documentOffsets.count - 1 }

  /// The rows of a document.
  package func rows(ofDocument document: Int) -> Range<Int> {
    Int(documentOffsets[document])..<Int(documentOffsets[document + 1])
  }

  /// Makes the batch empty, with room for `tokenCount` tokens.
  package mutating func removeAll(reserving tokenCount: Int) {
    tokens.removeAll(keepingCapacity: true)
    targets.removeAll(keepingCapacity: true)
    lossWeights.removeAll(keepingCapacity: true)
    documentOffsets.removeAll(keepingCapacity: true)
    documentNumbers.removeAll(keepingCapacity: true)
    embedded.removeAll(keepingCapacity: true)
    pictures.removeAll(keepingCapacity: true)
    teacherRows?.removeAll()
    tokenColumns.removeAll(keepingCapacity: true)
    documentColumns.removeAll(keepingCapacity: true)
    tokens.reserveCapacity(tokenCount)
    targets.reserveCapacity(tokenCount)
    lossWeights.reserveCapacity(tokenCount)
    // A document gives at least one token, so this is enough, and no batch allocates after the first.
    documentOffsets.reserveCapacity(tokenCount + 1)
    documentNumbers.reserveCapacity(tokenCount)
    documentOffsets.append(0)
  }

  // MARK: - Packing

  /// Adds a document of `count` tokens, whose last token has no row: `count - 1` rows.
  ///
  /// - Parameters:
  ///   - number: the document's in its split.
  ///   - token: the id of each, from 0.
  ///   - lossWeight: how much the prediction of each counts; the first token is not predicted.
  /// - Precondition: at least two tokens; all documents of a batch have numbers or none; there are no columns yet.
  package mutating func append(
    count: Int, number: Int? = nil, token: (_ index: Int) -> Int32, lossWeight: (_ index: Int) -> Float = { _ in 1 }
  ) {
    precondition(count > 1, "a document of \(count) tokens has nothing to predict")
    var next = token(0)
    for index in 1..<count {
      tokens.append(next)
      next = token(index)
      targets.append(next)
      lossWeights.append(lossWeight(index))
    }
    endDocument(number)
  }

  /// Adds a document.
  ///
  /// - Parameters:
  ///   - document: its tokens; the last has no row.
  ///   - isTrained: whether the token at an index, from 0, is to be predicted.
  /// - Precondition: as above.
  package mutating func append(
    document: some RandomAccessCollection<Int32>, number: Int? = nil,
    isTrained: (_ index: Int) -> Bool = { _ in true }
  ) {
    append(
      count: document.count, number: number,
      token: { document[document.index(document.startIndex, offsetBy: $0)] }, lossWeight: { isTrained($0) ? 1 : 0 })
  }

  /// Adds a document that is read whole, its last token too, and of which one number is wanted after that: its score.
  ///
  /// - Precondition: at least one token; all documents of a batch have numbers or none; there are no columns yet.
  package mutating func append(scored document: some Collection<Int32>, number: Int? = nil) {
    append(prompt: document, number: number)
    lossWeights[lossWeights.count - 1] = 1
  }

  /// Adds a document that is to be continued: its last token is read, too, and nothing is learned from it.
  ///
  /// - Precondition: at least one token; all documents of a batch have numbers or none; there are no columns yet.
  package mutating func append(prompt: some Collection<Int32>, number: Int? = nil) {
    precondition(!prompt.isEmpty, "a prompt without tokens")
    tokens.append(contentsOf: prompt)
    targets.append(contentsOf: prompt.dropFirst())
    targets.append(0)
    lossWeights.append(contentsOf: repeatElement(0, count: prompt.count))
    endDocument(number)
  }

  private mutating func endDocument(_ number: Int?) {
    precondition(tokenColumns.isEmpty && documentColumns.isEmpty, "a document after the batch's columns")
    documentOffsets.append(Int32(tokens.count))
    if let number { documentNumbers.append(number) }
    precondition(documentNumbers.isEmpty || documentNumbers.count == documentCount, "some documents have no number")
  }

  /// Leaves only some consecutive documents, with what belongs to them.
  package mutating func keep(documents: Range<Int>) {
    let kept = Int(documentOffsets[documents.lowerBound])..<Int(documentOffsets[documents.upperBound])
    func cut<Element>(_ array: inout [Element], to range: Range<Int>) {
      array.removeLast(array.count - range.upperBound)
      array.removeFirst(range.lowerBound)
    }
    if teacherRows != nil {
      func asked(_ rows: Range<Int>) -> Int { lossWeights[rows].count { $0 != 0 } }
      let first = asked(0..<kept.lowerBound)
      teacherRows?.keep(rows: first..<first + asked(kept))
    }
    cut(&tokens, to: kept)
    cut(&targets, to: kept)
    cut(&lossWeights, to: kept)
    if !documentNumbers.isEmpty { cut(&documentNumbers, to: documents) }
    cut(&documentOffsets, to: documents.lowerBound..<documents.upperBound + 1)
    for index in documentOffsets.indices { documentOffsets[index] -= Int32(kept.lowerBound) }
    for column in tokenColumns.keys { cut(&tokenColumns[column]!, to: kept) }
    for column in documentColumns.keys { cut(&documentColumns[column]!, to: documents) }
    embedded = embedded.filter { kept.contains($0.rows.lowerBound) }
    for index in embedded.indices { embedded[index].move(by: -kept.lowerBound) }
    pictures = pictures.filter { kept.contains($0.rows.lowerBound) }
    for index in pictures.indices { pictures[index].move(by: -kept.lowerBound) }
  }

  // MARK: - What else a source knows

  /// [tokens] a number for each token; nil without this column. Set once the documents are complete.
  package subscript(column: TokenColumn) -> [Float]? {
    get { tokenColumns[column] }
    set {
      precondition(newValue.map { $0.count == tokenCount } ?? true, "'\(column.name)' is not one value a token")
      tokenColumns[column] = newValue
    }
  }

  /// [documents] a number for each document; nil without this column. Set once the documents are complete.
  package subscript(column: DocumentColumn) -> [Float]? {
    get { documentColumns[column] }
    set {
      precondition(newValue.map { $0.count == documentCount } ?? true, "'\(column.name)' is not one value a document")
      documentColumns[column] = newValue
    }
  }

  /// Lets rows have values that do not come from the embedding table. Their tokens are still predicted as `lossWeights`
  /// says; in `tokens` they are placeholders.
  ///
  /// - Precondition: the rows are rows of one document, after those of earlier spans and pictures.
  package mutating func embed(_ span: EmbeddedSpan) {
    requireFree(span.rows)
    embedded.append(span)
  }

  /// Lets rows be those of a picture, which the engine computes. Otherwise as `embed`.
  ///
  /// - Precondition: the rows are rows of one document, after those of earlier pictures and spans.
  package mutating func see(_ picture: BatchPicture) {
    requireFree(picture.rows)
    pictures.append(picture)
  }

  private func requireFree(_ span: Range<Int>) {
    precondition(
      (0..<documentCount).contains {
        rows(ofDocument: $0).contains(span.lowerBound) && span.upperBound <= rows(ofDocument: $0).upperBound
      },
      "the embedded rows \(span) are not those of one document")
    let end = max(embedded.last?.rows.upperBound ?? 0, pictures.last?.rows.upperBound ?? 0)
    precondition(end <= span.lowerBound, "embedded spans that do not rise")
  }
}

/// The name of a number that a source knows of each token, such as its log-probability before the step.
package struct TokenColumn: Hashable, Sendable {
  package let name: String
  package init(_ name: String) { self.name = name }
}

/// The name of a number that a source knows of each document, such as its advantage.
package struct DocumentColumn: Hashable, Sendable {
  package let name: String
  package init(_ name: String) { self.name = name }
}
