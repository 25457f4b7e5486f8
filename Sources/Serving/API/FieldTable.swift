import Storage

/// What becomes of each field that clients send with a request: one table for each route.
///
/// The tables have every name that OpenAI's and Anthropic's packages, vLLM and llama.cpp's server know for the route. A
/// name that is in none is accepted, as clients send many of their own.
package struct FieldTable: Sendable {
  package enum Handling: Sendable {
    /// The route reads it, and refuses what it cannot do.
    case honoured
    /// It changes no answer here, for this reason.
    case harmless(String)
    /// It asks for what this server does not do, unless it has one of these values.
    case refused(String, unless: [JSON])
  }

  package let handlings: [String: Handling]

  /// - Parameters:
  ///   - honoured: names, with spaces between them.
  ///   - harmless: names, with spaces between them, and why they change nothing.
  ///   - refused: a name, the reason as a sentence without its beginning, and values that ask for nothing.
  init(
    honoured: String, harmless: [(names: String, reason: String)] = [],
    refused: [(name: String, reason: String, unless: [JSON])] = [], _ others: FieldTable? = nil
  ) {
    var handlings = others?.handlings ?? [:]
    func names(_ text: String) -> [String] { text.split(separator: " ").map(String.init) }
    for name in names(honoured) { handlings[name] = .honoured }
    for (text, reason) in harmless { for name in names(text) { handlings[name] = .harmless(reason) } }
    for (name, reason, values) in refused { handlings[name] = .refused(reason, unless: values) }
    self.handlings = handlings
  }

  /// - Throws: `APIError` for the first field that asks for what this server does not do.
  func check(_ fields: RequestFields) throws(APIError) {
    guard case .object(let members) = fields.object else { return }
    for member in members {
      guard case .refused(let reason, let values)? = handlings[member.key] else { continue }
      try fields.refuse(member.key, unless: { value in values.contains { Self.isSame($0, value) } }, reason)
    }
  }

  /// Whether the values are equal, numbers as numbers.
  private static func isSame(_ one: JSON, _ other: JSON) -> Bool {
    if let number = one.doubleValue { return number == other.doubleValue }
    return one == other
  }

  // MARK: - The routes

  private static let no = JSON.bool(false)
  private static let yes = JSON.bool(true)
  private static let noList = JSON.array([])
  private static let noObject = JSON.object([])
  private static let noText = JSON.string("")

  private static let labels = (
    names:
      "user metadata store safety_identifier prompt_cache_key prompt_cache_options prompt_cache_retention request_id",
    reason: "they are for OpenAI's records and for its caches; here every prompt is kept for those that begin alike."
  )

  /// What all routes that write text have in common.
  private static let generation = FieldTable(
    honoured: """
      model stream stream_options max_tokens max_completion_tokens n_predict temperature top_p top_k min_p \
      repetition_penalty repeat_penalty repeat_last_n presence_penalty frequency_penalty logit_bias seed stop n ignore_eos \
      min_tokens stop_token_ids response_format json_schema grammar guided_json guided_choice guided_regex guided_grammar \
      guided_whitespace_pattern structured_outputs structural_tag regex ebnf format
      """,
    harmless: [
      labels,
      ("service_tier verbosity prediction", "hints, which promise no other answer."),
      (
        "cache_prompt n_cache_reuse n_keep n_discard id_slot sse_ping_interval backend_sampling verbose",
        "how llama.cpp works."
      ),
      ("length_penalty", "it counts in a beam search only."),
      ("xtc_threshold", "it counts beside xtc_probability only."),
      ("dynatemp_exponent", "it counts beside dynatemp_range only."),
      (
        "dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers", "they count beside dry_multiplier only."
      ),
      ("mirostat_tau mirostat_eta", "they count beside mirostat only."),
      ("adaptive_decay", "it counts beside adaptive_target only."),
      ("spaces_between_special_tokens", "control tokens are never part of an answer."),
    ],
    refused: [
      ("use_beam_search", "answers are sampled.", [no]), ("typical_p", sampling, [.integer(1)]),
      ("top_n_sigma", sampling, [.integer(-1), .integer(0)]), ("xtc_probability", sampling, [.integer(0)]),
      ("dynatemp_range", sampling, [.integer(0)]), ("dry_multiplier", sampling, [.integer(0)]),
      ("mirostat", sampling, [.integer(0)]), ("adaptive_target", sampling, [.integer(-1)]),
      ("min_keep", sampling, [.integer(0)]), ("samplers", "the order of the steps of sampling is fixed.", [noList]),
      ("n_cmpl", "use 'n'.", [.integer(1)]), ("n_probs", "use 'logprobs'.", [.integer(0)]),
      ("post_sampling_probs", "log-probabilities are the model's.", [no]), ("n_indent", form, [.integer(0)]),
      ("allowed_token_ids", "use 'logit_bias'.", [noList]), ("bad_words", "use 'logit_bias'.", [noList]),
      ("logits_processors", "use 'logit_bias'.", [noList]),
      ("include_stop_str_in_output", "an answer ends before its stop string.", [no]),
      ("skip_special_tokens", "control tokens are never part of an answer.", [yes]),
      ("truncate_prompt_tokens", "shorten the prompt.", []),
      ("prompt_logprobs", "use 'echo' with 'logprobs' at /v1/completions.", []),
      ("priority", "all requests wait in one queue.", [.integer(0)]),
      ("t_max_predict_ms", "use 'max_tokens'.", [.integer(0), .integer(-1)]),
      ("return_tokens_as_token_ids", tokens, [no]), ("return_token_ids", tokens, [no]), ("return_tokens", tokens, [no]),
      ("return_progress", "a stream begins when the prompt is read.", [no]),
      ("timings_per_token", "'timings' come with the end of an answer.", [no]),
      ("response_fields", "replies are whole.", [noList]), ("lora", "the server has one model.", [noList]),
      ("cache_salt", "all prompts share one cache.", []), ("kv_transfer_params", "the cache stays here.", [noObject]),
      ("vllm_xargs", "there are no extensions.", [noObject]),
      ("repetition_detection", "use 'repetition_penalty'.", []),
      ("max_repetition_pattern_size", "use 'repetition_penalty'.", [.integer(0)]),
      ("min_repetition_pattern_size", "use 'repetition_penalty'.", [.integer(0)]),
      ("repetition_min_count", "use 'repetition_penalty'.", [.integer(0)]),
    ])

  private static let sampling = "the steps of sampling are temperature, top_k, top_p, min_p and the penalties."
  private static let form = "give 'response_format' with a JSON Schema."
  private static let tokens = "use 'logprobs', whose tokens have their bytes."
  private static let textOnly = "the model reads and writes text only."
  private static let parsing = "how an answer is read is the server's own affair."
  private static let budget = "thinking ends with </think>, after 'max_thinking_tokens' at the latest."
  /// The budget of thinking under our name, vLLM's and llama.cpp's.
  private static let budgets =
    "max_thinking_tokens thinking_token_budget thinking_budget_tokens reasoning_budget_tokens"

  package static let chat = FieldTable(
    honoured: """
      messages logprobs top_logprobs tools tool_choice parallel_tool_calls reasoning_effort chat_template_kwargs \
      enable_thinking open_thinking add_generation_prompt continue_final_message truncation
      """ + " " + budgets,
    refused: [
      ("audio", textOnly, []), ("modalities", textOnly, [.array([.string("text")])]),
      ("functions", "use 'tools'.", [noList]), ("function_call", "use 'tool_choice'.", [.string("none")]),
      ("web_search_options", "the model knows only what it was trained on.", []),
      ("moderation", "requests and answers are not moderated.", []),
      ("echo", "/v1/completions knows it.", [no]), ("add_special_tokens", "the chat template adds them.", [no]),
      ("documents", "put them into a message.", [noList]), ("chat_template", "the model's own is used.", [noText]),
      ("media_io_kwargs", textOnly, [noObject]), ("mm_processor_kwargs", textOnly, [noObject]),
      ("include_reasoning", "reasoning is in 'reasoning_content'.", [yes]),
      ("reasoning_format", parsing, [.string("auto"), .string("deepseek")]), ("parse_tool_calls", parsing, [yes]),
      ("reasoning_control", budget, [no]), ("reasoning_budget_message", budget, [noText]),
      ("grammar_lazy", form, [no]), ("grammar_triggers", form, [noList]),
      ("grammar_type", form, [noText]), ("preserved_tokens", parsing, [noList]),
      ("best_of", each, [.integer(1)]), ("suffix", "the model only continues texts.", [noText]),
    ], generation)

  private static let each = "each of the 'n' answers is returned as it was drawn."

  package static let completion = FieldTable(
    honoured: "prompt echo logprobs best_of tools tool_choice",
    refused: [
      ("suffix", "the model only continues texts.", [noText]),
      ("prompt_embeds", "prompts are texts or tokens.", []),
      ("max_thinking_tokens", "/v1/chat/completions knows it.", [.integer(-1)]),
      ("thinking_token_budget", "/v1/chat/completions knows it.", [.integer(-1)]),
      ("add_special_tokens", "a string begins with <s>; give tokens to have it otherwise.", [yes]),
    ], generation)

  package static let embedding = FieldTable(
    honoured: "model input encoding_format dimensions truncate",
    harmless: [labels],
    refused: [
      ("messages", "use 'input'.", []), ("content", "use 'input'.", []),
      ("truncate_prompt_tokens", "shorten the texts.", []),
      ("priority", "all requests wait in one queue.", [.integer(0)]),
      ("add_special_tokens", "a text is read after <s>; give tokens to have it otherwise.", [yes]),
      ("normalize", "embeddings have length 1.", [yes]), ("embd_normalize", "embeddings have length 1.", [.integer(2)]),
      ("use_activation", "embeddings have length 1.", [yes]),
      ("embed_dtype", "numbers are of 32 bits.", [.string("float32")]),
      ("endianness", "base64 is of little-endian numbers.", [.string("native"), .string("little")]),
      ("mm_processor_kwargs", textOnly, [noObject]), ("cache_salt", "all prompts share one cache.", []),
    ])

  package static let responses = FieldTable(
    honoured: """
      input instructions max_output_tokens reasoning text tools tool_choice parallel_tool_calls include top_logprobs \
      truncation chat_template_kwargs enable_thinking open_thinking
      """ + " " + budgets,
    harmless: [
      ("max_tool_calls", "it counts calls of tools that a server runs, of which there are none.")
    ],
    refused: [
      ("previous_response_id", stateless, []), ("conversation", stateless, []), ("prompt", stateless, []),
      ("background", "an answer is given to the request that asks for it.", [no]),
      ("background_options", "an answer is given to the request that asks for it.", []),
      ("context_management", "use 'truncation'.", [noList]), ("image", textOnly, []),
      ("moderation", "requests and answers are not moderated.", []),
      ("access_programs", "this server runs no programs.", [noList]),
      ("n", "a response is one.", [.integer(1)]),
    ], generation)

  private static let stateless = "the server keeps no conversations; send the whole of it as 'input'."

  package static let messages = FieldTable(
    honoured: """
      messages system stop_sequences tools tool_choice thinking output_config output_format truncation \
      chat_template_kwargs enable_thinking open_thinking
      """ + " " + budgets,
    harmless: [
      ("cache_control", "every prompt is kept for those that begin alike."),
      (
        "inference_geo user_profile_id workspace_id diagnostics speed betas billing_policy fallbacks",
        "they are for Anthropic's own service."
      ),
    ],
    refused: [
      ("container", "this server runs no tools.", []), ("mcp_servers", "this server runs no tools.", [noList]),
      ("context_management", "use 'truncation'.", [noObject]), ("compaction", "use 'truncation'.", [noObject]),
      ("thread", "the server keeps no conversations; send the whole of it as 'messages'.", []),
      ("fallback_credit_token", "the server has one model.", []), ("n", "a message is one.", [.integer(1)]),
    ], generation)
}
