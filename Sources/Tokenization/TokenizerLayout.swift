import Storage

/// The special tokens and the chat template of a tokenizer that this program learns.
package enum TokenizerLayout: String, CaseIterable, Sendable {
  /// MiniMind's of 2024, the default: `<unk>`, `<s>`, `</s>`, and a template for questions and answers.
  case v1
  /// MiniMind's of 2026: 36 tokens, and a template that has tools and thinking.
  case miniMind3 = "minimind-3"

  /// Tokens 0, 1, 2 and so on.
  package var specialTokens: [String] { addedTokens.map(\.content) }

  var addedTokens: [AddedToken] {
    let texts: (special: [String], kept: [String])
    switch self {
    case .v1: texts = (["<unk>", "<s>", "</s>"], [])
    case .miniMind3:
      let places = ["object_ref", "box", "quad"].flatMap { ["<|\($0)_start|>", "<|\($0)_end|>"] }
      texts = (
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + places
          + ["<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
          + ["<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"]
          + ["<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "<tts_text_bos_single>"],
        // Not special: they stay in decoded text, in which calls and thoughts are looked for.
        ["tool_call", "tool_response", "think"].flatMap { ["<\($0)>", "</\($0)>"] }
          + (1...9).map { "<|buffer\($0)|>" }
      )
    }
    return (texts.special + texts.kept).enumerated().map { id, content in
      AddedToken(id: Int32(id), content: content, flags: .init(isSpecial: id < texts.special.count))
    }
  }

  /// The members of `tokenizer_config.json` that name tokens.
  var namedTokens: (begin: String, end: String, unknown: String, padding: String?) {
    switch self {
    case .v1: ("<s>", "</s>", "<unk>", nil)
    case .miniMind3: ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|endoftext|>")
    }
  }

  /// The chat template, in Jinja.
  package var chatTemplate: String {
    switch self {
    case .v1: ChatTemplate.source
    case .miniMind3: Self.miniMind3Template
    }
  }

  /// Renders conversations in the form of minimind-3: an answer always has a block of thoughts, calls and results of tools
  /// are in tags of their own, results stand in a user's turn, and the system message ends with the tools.
  private static let miniMind3Template = #"""
    {%- macro words(content) -%}
      {%- if content is string -%}
        {{- content -}}
      {%- elif content -%}
        {%- for part in content -%}
          {%- if part.type != 'text' -%}{{- raise_exception('A message has a part that is no text.') -}}{%- endif -%}
          {{- part.text -}}
        {%- endfor -%}
      {%- endif -%}
    {%- endmacro -%}
    {%- set begins = messages and messages[0].role in ['system', 'developer'] -%}
    {%- if tools -%}
      {{- '<|im_start|>system\n' -}}
      {%- if begins -%}{{- words(messages[0].content) + '\n\n' -}}{%- endif -%}
      {{- '# Tools\n\nYou can call functions. Each line between these tags describes one, as a JSON Schema:\n<tools>' -}}
      {%- for tool in tools -%}{{- '\n' + tool | tojson -}}{%- endfor -%}
      {{- '\n</tools>\n\nA call has the name and the arguments as a JSON object between tags of its own:\n<tool_call>\n{"name": <name>, "arguments": <object>}\n</tool_call><|im_end|>\n' -}}
    {%- elif begins -%}
      {{- '<|im_start|>system\n' + words(messages[0].content) + '<|im_end|>\n' -}}
    {%- endif -%}
    {%- for message in messages -%}
      {%- if message.role in ['system', 'developer'] -%}
        {%- if not loop.first -%}{{- '<|im_start|>system\n' + words(message.content) + '<|im_end|>\n' -}}{%- endif -%}
      {%- elif message.role == 'user' -%}
        {{- '<|im_start|>user\n' + words(message.content) + '<|im_end|>\n' -}}
      {%- elif message.role == 'assistant' -%}
        {%- set said = words(message.content) -%}
        {%- set thought = message.reasoning_content or '' -%}
        {%- if not thought and '</think>' in said -%}
          {%- set thought = said.split('</think>')[0].split('<think>')[-1] -%}
          {%- set said = said.split('</think>', 1)[1] -%}
        {%- endif -%}
        {%- set said = said.lstrip('\n') -%}
        {{- '<|im_start|>assistant\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + said -}}
        {%- for call in message.tool_calls or [] -%}
          {%- set call = call.function or call -%}
          {%- if said or not loop.first -%}{{- '\n' -}}{%- endif -%}
          {{- '<tool_call>\n{"name": ' + call.name | tojson + ', "arguments": ' -}}
          {{- call.arguments if call.arguments is string else call.arguments | default({}) | tojson -}}
          {{- '}\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>\n' -}}
      {%- elif message.role == 'tool' -%}
        {%- if loop.first or loop.previtem.role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
        {{- '\n<tool_response>\n' + words(message.content) + '\n</tool_response>' -}}
        {%- if loop.last or loop.nextitem.role != 'tool' -%}{{- '<|im_end|>\n' -}}{%- endif -%}
      {%- else -%}
        {{- raise_exception('A message has the role ' + message.role + ', which this template does not know.') -}}
      {%- endif -%}
    {%- endfor -%}
    {%- if add_generation_prompt -%}
      {{- '<|im_start|>assistant\n<think>\n' -}}
      {%- if not (open_thinking or enable_thinking) -%}{{- '\n</think>\n\n' -}}{%- endif -%}
    {%- endif -%}
    """#
}
