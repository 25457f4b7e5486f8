import Corpus

/// Which model, and how many epochs, suit an amount of data.
///
/// Few tokens are read several times: up to four times a text is worth nearly as much as new text, and beyond about sixteen
/// times it gives little (Muennighoff et al. 2023, Scaling Data-Constrained Language Models, arXiv:2305.16264, section 5). The
/// models are chosen so that their weights stay within a few hundred a token.
struct TrainingSuggestion: Equatable {
  /// Nil where training goes on from a model.
  let model: String?
  /// Nil for the stage's default.
  let epochs: Int?

  init(_ manifest: DataManifest) {
    let tokens = manifest.training.tokens
    switch manifest.kind {
    case .pretrain:
      model = tokens < 2_000_000 ? "tiny" : tokens < 400_000_000 ? "small" : "base"
      epochs = tokens < 500_000 ? 16 : tokens < 5_000_000 ? 4 : tokens < 50_000_000 ? 2 : nil
    case .sft:
      model = nil
      epochs = manifest.training.documents < 1000 ? 10 : nil
    case .dpo, .kto, .grpo: (model, epochs) = (nil, nil)
    }
  }

  var arguments: String { (model.map { "--model \($0)" } ?? "--from MODEL") + (epochs.map { " --epochs \($0)" } ?? "") }
}
