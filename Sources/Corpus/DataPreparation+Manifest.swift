import Tokenization

extension DataPreparation {
  /// The manifest before anything is counted.
  func emptyManifest(programVersion: String) -> DataManifest {
    DataManifest(
      programVersion: programVersion, kind: task.kind, tokenizerHash: tokenizer.contentHash,
      vocabularySize: tokenizer.vocabularySize, seed: seed, heldOutFraction: heldOutFraction,
      inputs: files.map {
        DataManifest.Input(
          path: $0.path, bytes: $0.byteCount, format: $0.format,
          encoding: $0.encoding.isUTF8 ? nil : $0.encoding.description)
      },
      filters: task.filters.merging(dropsDuplicates ? ["deduplicate": "true"] : [:]) { $1 }
        .merging(pictures?.texts ?? [:]) { $1 })
  }

  /// Why no row is left.
  func nothingLeft(_ manifest: DataManifest) -> CorpusError {
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
