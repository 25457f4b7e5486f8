import Foundation
import Storage
import Tokenization

/// Turns files of text or conversations into a data directory: token shards, manifest, tokenizer.
///
/// Streams: memory does not grow with the input, but for 17 bytes a distinct row when duplicates are looked for.
/// The result depends on the input and the settings only, not on the number of threads.
package struct DataPreparation: Sendable {
  /// What the rows are, and which of them are kept.
  package enum Task: Sendable {
    case pretrain(PretrainFilters)
    case sft(ConversationFilters, ChatTemplate)
    case dpo(maximumTokens: Int, ChatTemplate)

    var kind: DataManifest.Kind {
      switch self {
      case .pretrain: .pretrain
      case .sft: .sft
      case .dpo: .dpo
      }
    }

    /// The filters in force, by the names of their flags.
    fileprivate var filters: [String: String] {
      switch self {
      case .pretrain(let filters): filters.texts
      case .sft(let filters, _): filters.texts
      case .dpo(let maximumTokens, _): ["max-tokens": String(maximumTokens)]
      }
    }
  }

  package var task: Task
  package var files: [InputFile]
  package var tokenizer: Tokenizer
  /// Leaves out rows that were there before, to the byte.
  package var dropsDuplicates = false
  /// The share of documents that training does not see.
  package var heldOutFraction = 0.02
  package var seed = 42
  /// A broken row is an error instead of being left out.
  package var isStrict = false
  package var threads = 1

  package init(task: Task, files: [InputFile], tokenizer: Tokenizer) {
    self.task = task
    self.files = files
    self.tokenizer = tokenizer
  }

  package var totalBytes: Int { files.reduce(0) { $0 + $1.byteCount } }

  /// Input bytes in work at a time; their tokens take up to twice as much again.
  private static let maximumBytesInWork = 1 << 26

  /// Prepares the data and puts them at `directory`, which appears whole or not at all.
  ///
  /// - Parameter progress: called after each block with the bytes read so far; what it throws stops the work.
  /// - Throws: `FileError`; `CorpusError` when `directory` holds something else than prepared data, when no row
  ///   can be used, or at the first broken row if the preparation is strict.
  package func write(
    to directory: String, programVersion: String, progress: (_ bytesCompleted: Int) throws -> Void = { _ in }
  ) throws -> DataManifest {
    if task.kind != .pretrain, let file = files.first(where: { $0.format == .text || $0.format == .wholeFile }) {
      throw CorpusError(
        "\(file.path) is plain text, which holds no questions and answers. Give .jsonl, .json or .csv, with rows like "
          + (task.kind == .sft ? RowReader.goodConversationRow : RowReader.goodPreferenceRow))
    }
    try checkReplaceable(directory)
    var manifest: DataManifest?
    try AtomicDirectory.write(directory) { temporary in
      manifest = try fill(temporary, programVersion: programVersion, progress: progress)
    }
    guard let manifest else { preconditionFailure("a data directory without a manifest") }
    return manifest
  }

  private func fill(
    _ directory: String, programVersion: String, progress: (Int) throws -> Void
  ) throws -> DataManifest {
    var manifest = emptyManifest(programVersion: programVersion)
    var broken = BrokenRows()
    var seen = DigestSet()
    let hasLossMask = task.kind.hasLossMask
    var training = SplitWriter(
      directory: directory, isHeldOut: false, tokenizer: tokenizer, hasLossMask: hasLossMask)
    var heldOut = SplitWriter(directory: directory, isHeldOut: true, tokenizer: tokenizer, hasLossMask: hasLossMask)

    let blocks = BlockReader(files)
    try OrderedPipeline.run(
      threads: threads, maximumWeight: Self.maximumBytesInWork, next: blocks.next, weight: { $0.byteCount },
      makeTransform: {
        let encoder = makeEncoder()
        return { EncodedBlock($0, with: encoder) }
      },
      commit: { block in
        if isStrict, let message = block.broken.messages.first { throw CorpusError(message) }
        broken.add(block.broken)
        manifest.rowsRead += block.rowsRead
        for (reason, count) in block.dropped { manifest.rowsDropped[reason.rawValue, default: 0] += count }
        for (change, count) in block.changed { manifest.rowsChanged[change.rawValue, default: 0] += count }
        var document = 0
        var token = 0
        for row in block.rows {
          let isKept = !dropsDuplicates || seen.insert(row.digest)
          while document < row.documentEnd {
            let tokens = token..<block.documents[document].tokenEnd
            if isKept && block.documents[document].isHeldOut {
              try heldOut.append(block.documents[document], tokens, of: block)
            } else if isKept {
              try training.append(block.documents[document], tokens, of: block)
            }
            token = tokens.upperBound
            document += 1
          }
          if isKept {
            manifest.rowsKept += 1
          } else {
            manifest.rowsDropped[DropReason.duplicate.rawValue, default: 0] += 1
          }
        }
        try progress(block.bytesCompleted)
      })
    manifest.rowsBroken = broken.count
    manifest.brokenRows = broken.messages
    guard manifest.rowsKept > 0 else { throw nothingLeft(manifest) }

    try training.finish()
    try heldOut.finish()
    manifest.training = training.totals
    manifest.heldOut = heldOut.totals
    manifest.shards = training.shards + heldOut.shards
    if training.totals.documents == 0 { manifest.trainOnHeldOut() }
    try tokenizer.save(to: directory)
    try manifest.write(to: directory)
    return manifest
  }

  private func makeEncoder() -> any RowEncoder {
    let selection = HeldOutSelection(fraction: heldOutFraction, seed: seed)
    return switch task {
    case .pretrain(let filters): PretrainEncoder(tokenizer: tokenizer, filters: filters, heldOut: selection)
    case .sft(let filters, let template):
      ConversationEncoder(tokenizer: tokenizer, template: template, filters: filters, heldOut: selection)
    case .dpo(let maximumTokens, let template):
      PreferenceEncoder(tokenizer: tokenizer, template: template, maximumTokens: maximumTokens, heldOut: selection)
    }
  }

  private func emptyManifest(programVersion: String) -> DataManifest {
    DataManifest(
      programVersion: programVersion, kind: task.kind, tokenizerHash: tokenizer.contentHash,
      vocabularySize: tokenizer.vocabularySize, seed: seed, heldOutFraction: heldOutFraction,
      inputs: files.map { DataManifest.Input(path: $0.path, bytes: $0.byteCount, format: $0.format) },
      filters: task.filters.merging(dropsDuplicates ? ["deduplicate": "true"] : [:]) { $1 })
  }

  private func nothingLeft(_ manifest: DataManifest) -> CorpusError {
    if let message = manifest.brokenRows.first, manifest.rowsBroken == manifest.rowsRead {
      return CorpusError("no row can be used; the first is \(message)")
    }
    let names = files.map(\.path).joined(separator: ", ")
    guard manifest.rowsRead > 0 else {
      return CorpusError("\(names): there is no row in it. Give a file with text.")
    }
    var reasons = DropReason.allCases.compactMap { reason in
      manifest.rowsDropped[reason.rawValue].map { "\($0) \(reason.inWords)" }
    }
    if let message = manifest.brokenRows.first { reasons.append("\(manifest.rowsBroken) broken (\(message))") }
    return CorpusError(
      "\(names): none of the \(manifest.rowsRead) rows is left: \(reasons.joined(separator: "; ")). "
        + "Loosen the filters, or check the input.")
  }
}

/// Refuses to replace a directory that holds anything but prepared data.
///
/// - Throws: `CorpusError` for a file, or a directory with other files in it.
private func checkReplaceable(_ directory: String) throws {
  var status = stat()
  guard lstat(directory, &status) == 0 else { return }
  guard status.st_mode & S_IFMT == S_IFDIR else {
    throw CorpusError("cannot write to \(directory): a file is in the way. Choose another output directory.")
  }
  let names = try FileManager.default.contentsOfDirectory(atPath: directory)
  let isOurs = names.allSatisfy { name in
    name == DataManifest.fileName || name.hasSuffix(TokenShard.fileSuffix) || name == "tokenizer.json"
      || name == "tokenizer_config.json"
  }
  guard names.isEmpty || isOurs && names.contains(DataManifest.fileName) else {
    throw CorpusError(
      "\(directory) holds other files than prepared data and is left as it is. Choose another output directory.")
  }
}
