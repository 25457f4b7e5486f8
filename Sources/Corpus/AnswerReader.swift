import Storage
import Tokenization

/// Reads the answers of JSONL, JSON and CSV files as the tokens of their conversations, for a model that scores them.
///
/// A row is a conversation, as `data sft` takes it, or a pair, as `data dpo` does.
package struct AnswerReader {
  /// The conversations of a row up to the last answer: one, or the chosen and the rejected one.
  package typealias Row = [[Int32]]

  package let files: [InputFile]
  private let tokenizer: Tokenizer
  private let template: ChatTemplate
  private let maximumTokens: Int

  /// - Parameter maximumTokens: of a conversation; longer ones are left out.
  /// - Throws: `CorpusError` or `FileError` for a path that is missing, empty, or no text.
  package init(
    inputs: [String], _ options: InputOptions, tokenizer: Tokenizer, template: ChatTemplate,
    maximumTokens: Int
  ) throws {
    files = try InputFiles(inputs, options).files
    self.tokenizer = tokenizer
    self.template = template
    self.maximumTokens = maximumTokens
  }

  /// All rows, those that were left out for a reason by `DropReason`, and those that are broken.
  ///
  /// - Throws: `CorpusError` when no row can be used, or more than half of a file's rows are broken.
  package func rows() throws -> (rows: [Row], dropped: [String: Int], broken: BrokenRows) {
    let encoder = PreferenceEncoder(
      tokenizer: tokenizer, template: template, maximumTokens: maximumTokens, rows: .conversations,
      heldOut: HeldOutSelection(fraction: 0, seed: 0))
    let blocks = BlockReader(files)
    var rows: [Row] = []
    var counts = PreparationCounts()
    while let block = try blocks.next() {
      let encoded = EncodedBlock(block, with: encoder)
      var document = 0
      var token = 0
      for row in encoded.rows {
        var texts: Row = []
        for entry in encoded.documents[document..<row.documentEnd] {
          texts.append(Array(encoded.tokens[token..<entry.tokenEnd]))
          token = entry.tokenEnd
        }
        document = row.documentEnd
        rows.append(texts)
      }
      counts.add(encoded.counts)
    }
    try counts.broken.checkFiles()
    guard !rows.isEmpty else {
      throw CorpusError(
        counts.broken.messages.first.map { "no row can be used: \($0)" }
          ?? "\(files.map(\.path).joined(separator: ", ")): there is no answer in it. Give a file with conversations."
      )
    }
    return (rows, counts.dropped, counts.broken)
  }
}
