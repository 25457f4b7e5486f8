import Model
import Rewards

extension SettingList {
  package var promptsPerStep: Setting<Int> {
    Setting(
      "prompts-per-step", kind: .integer(1...65536), help: "Prompts that the answers of a step are to."
    ) { $0.learnsValues ? 64 : 16 }
  }
  package var answersPerPrompt: Setting<Int> {
    Setting(
      "answers", kind: .integer(2...1024), help: "Answers to each prompt, which are compared with each other."
    ) { $0.learnsValues ? 1 : 8 }
  }
  package var answerTokens: Setting<Int> {
    Setting("answer-tokens", default: 128, in: 1...1 << 20, help: "Most tokens of an answer.")
  }
  package var temperature: Setting<Double> {
    Setting(
      "temperature", default: 1, in: 0.01...10,
      help:
        "Of the answers. With another than 1, or with --top-k or --top-p, they are not drawn from the distribution that "
        + "is trained.")
  }
  package var topK: Setting<Int> {
    Setting("top-k", default: 0, in: 0...1 << 24, help: "Answers choose among the N likeliest tokens; 0: among all.")
  }
  package var topP: Setting<Double> {
    Setting(
      "top-p", default: 1, in: 0.01...1,
      help: "Answers choose among the likeliest tokens that together have this probability.")
  }
  package var writingPrecision: OpenSetting<WritingPrecision> {
    OpenSetting(
      "writing-precision", help: "Number type of the weights that write answers.",
      defaultText: { _ in "as --precision" })
  }
  package var rewards: Setting<[String]> {
    Setting(
      "reward", default: ["check"],
      help: "What answers are worth, as NAME or NAME=WEIGHT, added up: \(RewardSum.names.joined(separator: ", ")). "
        + "Without it: check, the task's own.")
  }
  package var rewardCommand: OpenSetting<String> {
    OpenSetting(
      "reward-command", "COMMAND",
      help:
        "A program that says what answers are worth: a line of JSON for each on its input, a number for each on its "
        + "output (docs/data.md). Its reward is added, with weight 1.")
  }
  package var rewardSeconds: Setting<Int> {
    Setting(
      "reward-timeout", default: 60, in: 1...86400, mayDiffer: .onResume,
      help: "Seconds that the program may take for the answers of a step.")
  }
  package var policyLoss: Setting<PolicyLoss.Shape> {
    Setting(
      "loss", default: .dapo,
      help:
        "What is minimised (docs/notation.md): dapo and cispo count all tokens alike, grpo and gspo all answers, dr-grpo "
        + "divides by --answer-tokens, reinforce has neither ratio nor clipping.")
  }
  package var clipLow: OpenSetting<Double> {
    OpenSetting(
      "clip-low", kind: .number(0...1),
      help: "A token that has become less likely by more than this share is not made less likely still.",
      defaultText: { $0.learnsValues ? "0.2" : "0.2; gspo 0.0003" })
  }
  package var clipHigh: OpenSetting<Double> {
    OpenSetting(
      "clip-high", kind: .number(0...1000),
      help: "The same upwards; for cispo the largest ratio that counts.",
      defaultText: { $0.learnsValues ? "0.2" : "0.2; dapo 0.28, gspo 0.0004, cispo 5" })
  }
  package var divergence: Setting<Double> {
    Setting(
      "beta", default: 0, in: 0...1000,
      help: "Strength of the pull towards the starting model, which is then in memory as well; 0: none.")
  }
  package var passes: Setting<Int> {
    Setting("passes", kind: .integer(1...100), help: "Steps of the optimizer on the same answers.") {
      $0.learnsValues ? 4 : 1
    }
  }
  package var scaleRewards: OpenSetting<RewardScale> {
    OpenSetting(
      "scale-rewards",
      help: "Divides advantages by the deviation of the rewards of the group, of the step, or not at all.",
      defaultText: { _ in "group; none for dr-grpo and reinforce" })
  }
  package var maskTruncated: Setting<Bool> {
    Setting("mask-truncated", default: false, help: "Learns nothing from answers that were cut at the most tokens.")
  }
  package var importanceLimit: Setting<Double> {
    Setting(
      "importance-limit", default: 2, in: 0...1000,
      help:
        "The largest weight by which a token counts for having been written with other numbers than training has; 0: all "
        + "count alike.")
  }

  /// The options of all stages that learn from their own answers.
  var rolloutSettings: [SettingDescription] {
    [
      promptsPerStep.description, answersPerPrompt.description, answerTokens.description, temperature.description,
      topK.description, topP.description, writingPrecision.description, rewards.description, rewardCommand.description,
      rewardSeconds.description, clipLow.description, clipHigh.description, divergence.description,
      passes.description, maskTruncated.description, importanceLimit.description,
    ]
  }

  /// The options of one that compares answers with each other.
  var policySettings: [SettingDescription] {
    rolloutSettings + [policyLoss.description, scaleRewards.description]
  }
}

extension ResolvedSettings {
  /// The number type of the weights that write answers.
  package var answerPrecision: WritingPrecision {
    recorded.writingPrecision ?? (self.precision == .bfloat16 ? .bfloat16 : .float32)
  }

  /// - Throws: `RewardError` for a name that is no reward.
  func rewardSum() throws(RewardError) -> RewardSum {
    try RewardSum(
      self.rewards, command: recorded.rewardCommand.map { RewardCommand($0, seconds: Double(self.rewardSeconds)) })
  }

  var rewardScale: RewardScale {
    recorded.scaleRewards ?? (self.policyLoss == .drGRPO || self.policyLoss == .reinforce ? .none : .group)
  }
}

extension PolicyLoss {
  package init(_ settings: ResolvedSettings) {
    let shape = settings.policyLoss
    let (low, high): (Double, Double) =
      switch shape {
      case .grpo, .drGRPO, .reinforce: (0.2, 0.2)
      case .dapo: (0.2, 0.28)
      case .cispo: (0.2, 5)
      case .gspo: (3e-4, 4e-4)
      }
    self.init(
      shape, clipLow: settings.recorded.clipLow ?? low, clipHigh: settings.recorded.clipHigh ?? high,
      beta: settings.divergence, importanceLimit: settings.importanceLimit, maximumTokens: settings.answerTokens)
  }
}
