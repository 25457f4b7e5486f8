import Model
import Testing
import Training

@Suite("The weight of the tags of reasoning")
struct ThinkTagTests {
  /// A model that has read documents, and settings of a step of fine-tuning on conversations with thoughts.
  private func settings(_ tiny: TinyRun) throws -> TrainingSettings {
    try tiny.prepareThoughts(documents: "documents", conversations: "thoughts")
    var settings = tiny.settings(threads: 2)
    (settings.data, settings.steps) = (tiny.folder + "/documents", 2)
    let (_, base) = try tiny.train(settings, output: "base")
    settings = tiny.settings(.sft, threads: 2)
    (settings.data, settings.from, settings.steps) = (tiny.folder + "/thoughts", base, 2)
    return settings
  }

  @Test("each tag counts as much as so many other tokens; held-out documents are measured as always")
  func weighs() throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny)
      var (losses, weights, heldOut): ([Double], [Double], [Double]) = ([], [], [])
      for weight in [0, 1, 3.0] {
        settings.thinkWeight = weight
        let events = EventList()
        try tiny.train(settings, stage: .sft, output: "run-\(weight)", sinks: [events])
        let sums = try #require(events.steps.first).sums
        losses.append(sums.sum(Metric.loss.name))
        weights.append(sums.weight(Metric.loss.name))
        heldOut.append(try #require(events.evaluations.first).loss)
      }
      // Σ w·loss and Σ w are those of the other tokens, and w times those of the tags.
      let tags = weights[1] - weights[0]
      #expect(tags > 0 && weights[2] == weights[1] + 2 * tags)
      #expect(abs(losses[2] - (losses[1] + 2 * (losses[1] - losses[0]))) < 1e-4 * losses[1])
      #expect(losses[1] - losses[0] > 1e-3 * losses[1])
      #expect(heldOut[0] == heldOut[1] && heldOut[1] == heldOut[2])
    }
  }

  @Test("a tokenizer without the tags, and a teacher, are refused by name")
  func refusals() throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny)
      (settings.thinkWeight, settings.teacher) = (10, settings.from)
      let teacher = try #require(throws: TrainingError.self) { try TrainingPlan(.sft, settings) }
      #expect(teacher.description.contains("--think-weight is for runs without a teacher"))
      var base = tiny.settings()
      base.steps = 1
      settings = tiny.settings(.sft)
      (settings.from, settings.thinkWeight) = (try tiny.train(base, output: "other").path, 10)
      let tokenizer = try #require(throws: TrainingError.self) { try TrainingPlan(.sft, settings) }
      #expect(tokenizer.description.contains("--think-weight is for tokenizers in which <think>"))
    }
  }
}
