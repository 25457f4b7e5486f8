import Storage

extension BytePairModel {
  /// `tokenizer.json` to the byte as `tokenizers` 0.23 saves it.
  func fileBytes() -> [UInt8] {
    let added = addedTokens.sorted { $0.id < $1.id }.map { token in
      """
          {
            "id": \(token.id),
            "content": \(JSON.quoted(token.content)),
      \(token.flags.jsonLines(indentation: "      "))
          }
      """
    }
    let vocabulary = tokens.enumerated().compactMap { id, token in token.map { "      \(JSON.quoted($0)): \(id)" } }
    let merges = merges.map { merge in
      "      [\n        \(JSON.quoted(tokens[Int(merge.left)] ?? "")),\n"
        + "        \(JSON.quoted(tokens[Int(merge.right)] ?? ""))\n      ]"
    }
    let text = """
      {
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [
      \(added.joined(separator: ",\n"))
        ],
        "normalizer": \(pipeline.normalizer.json.text(indentation: 1)),
        "pre_tokenizer": \(pipeline.preTokenizerJSON.text(indentation: 1)),
        "post_processor": null,
        "decoder": \(pipeline.decoderJSON.text(indentation: 1)),
        "model": {
          "type": "BPE",
          "dropout": null,
          "unk_token": null,
          "continuing_subword_prefix": null,
          "end_of_word_suffix": null,
          "fuse_unk": false,
          "byte_fallback": \(!isByteLevel),
          "ignore_merges": \(looksUpWords),
          "vocab": {
      \(vocabulary.joined(separator: ",\n"))
          },
          "merges": \(merges.isEmpty ? "[]" : "[\n\(merges.joined(separator: ",\n"))\n    ]")
        }
      }
      """
    return Array(text.utf8)
  }
}
