import Model

/// The file that tells ollama how to run a GGUF file: `ollama create NAME -f FILE`.
package enum OllamaModelfile {
  /// MiniMind v1's chat template in the language of Go's text/template, equal to `ChatTemplate` for any conversation.
  /// A system message counts where it comes first, and every question opens its answer.
  private static let chatTemplate = """
    {{- range $index, $message := .Messages }}
    {{- if and (eq $index 0) (eq .Role "system") }}{{ .Content }}
    {{- else if eq .Role "user" }}<s>user
    {{ .Content }}</s>
    <s>assistant
    {{ else if eq .Role "assistant" }}{{ .Content }}</s>
    {{ end }}
    {{- end }}
    """

  /// - Parameters:
  ///   - model: the GGUF file beside it.
  ///   - projector: the one with tower and projector; nil for a model of text alone.
  ///   - isChat: whether the model's chat template is MiniMind's; another one is left to ollama, which then reads that of
  ///     the GGUF file.
  ///   - stops: the texts that end an answer.
  ///   - contextLength: tokens.
  ///   - generation: how the model's files say to sample; MiniMind's way where they say nothing.
  package static func text(
    model: String, projector: String? = nil, isChat: Bool, stops: [String], contextLength: Int,
    generation: GenerationConfiguration
  ) -> String {
    var lines = [model, projector].compactMap(\.self).map { "FROM ./\($0)" }
    if isChat { lines.append("TEMPLATE \"\"\"\(chatTemplate)\"\"\"") }
    lines += stops.map { "PARAMETER stop \"\($0)\"" }
    if generation.describesSampling {
      let temperature = generation.temperature ?? GenerationConfiguration.transformersTemperature
      // ollama's own defaults are others.
      lines += [
        "PARAMETER temperature \(generation.samples == false ? 0 : temperature)",
        "PARAMETER top_k \(generation.topK ?? GenerationConfiguration.transformersTopK)",
        "PARAMETER top_p \(generation.topP ?? 1)", "PARAMETER min_p \(generation.minP ?? 0)",
        "PARAMETER repeat_penalty \(generation.repetitionPenalty ?? 1)",
      ]
    } else {
      lines += ["PARAMETER temperature \(SamplingDefaults.temperature)", "PARAMETER top_k \(SamplingDefaults.topK)"]
    }
    if let limit = generation.maximumTokens { lines.append("PARAMETER num_predict \(limit)") }
    lines.append("PARAMETER num_ctx \(contextLength)")
    return lines.joined(separator: "\n") + "\n"
  }
}
