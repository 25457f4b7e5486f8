extension SettingList {
  package var beta: Setting<Double> {
    Setting(
      "beta", default: 0.1, in: 1e-6...1000,
      help:
        "Strength of the pull towards the starting model (the KL coefficient); without one, how much a margin counts.")
  }
  package var loss: Setting<PreferenceLoss.Shape> {
    Setting(
      "loss", default: .sigmoid,
      help: "Of a pair: sigmoid is DPO's, which wants ever larger margins; hinge stops at a margin of 1/beta, ipo at "
        + "1/(2 beta); robust allows for swapped pairs (--label-smoothing). Without a reference: simpo compares the mean "
        + "token's log-probabilities, orpo their odds while it learns the chosen answers.")
  }
  package var lengthNormalized: Setting<Bool> {
    Setting(
      "length-normalized", default: false,
      help:
        "Divides an answer's log-probability by its tokens, so that length does not count; simpo and orpo always do.")
  }
  package var labelSmoothing: OpenSetting<Double> {
    OpenSetting(
      "label-smoothing", kind: .number(0...0.49),
      help: "--loss robust: the share of pairs whose chosen and rejected answer may be swapped.",
      defaultText: { _ in "0" })
  }
  package var simpoGamma: OpenSetting<Double> {
    OpenSetting(
      "simpo-gamma", kind: .number(0...100), help: "--loss simpo: the margin of rewards that is aimed at.",
      defaultText: { _ in "0.5" })
  }

  /// The options of a stage that compares pairs.
  var preferenceSettings: [SettingDescription] {
    [
      beta.description, loss.description, lengthNormalized.description, labelSmoothing.description,
      simpoGamma.description,
    ]
  }
}

extension PreferenceLoss.Shape: SettingChoice {}

extension PreferenceLoss {
  init(_ settings: ResolvedSettings) {
    self.init(shape: settings.loss, beta: settings.beta, isLengthNormalized: settings.lengthNormalized)
    if let epsilon = settings.recorded.labelSmoothing { labelSmoothing = epsilon }
    if let gamma = settings.recorded.simpoGamma { simpoGamma = gamma }
  }
}

extension TrainingSettings {
  /// - Throws: `TrainingError` when an option of one loss is given with another.
  func validatePreferences() throws(TrainingError) {
    let loss = self.loss ?? .sigmoid
    for (option, isGiven, needed) in [
      ("--label-smoothing", self.labelSmoothing != nil, PreferenceLoss.Shape.robust),
      ("--simpo-gamma", self.simpoGamma != nil, .simpo),
    ] where isGiven && loss != needed {
      throw TrainingError(
        "\(option) is for --loss \(needed.rawValue), and the loss is \(loss.rawValue). Leave it out, or give that loss."
      )
    }
  }
}
