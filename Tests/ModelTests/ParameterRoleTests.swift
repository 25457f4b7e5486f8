import Model
import Testing

@Suite struct ParameterRoleTests {
  /// Of a dense model with everything that it can have, of a mixture, and of an adapter.
  private static func entries() throws -> [ParameterEntry] {
    var dense = ModelConfiguration(hiddenSize: 8, layerCount: 3, headCount: 2, keyValueHeadCount: 1, vocabularySize: 11)
    dense.tiesEmbeddings = false
    dense.normalizesQueriesAndKeys = true
    var mixture = dense
    mixture.normalizesQueriesAndKeys = false
    dense.attentionBias = .inputsAndOutput
    (mixture.expertCount, mixture.expertsPerToken, mixture.sharedExpertCount) = (2, 1, 1)
    let adapter = LoRAConfiguration(rank: 2, alpha: 4, dropout: 0)
    return try ParameterTable(dense).entries + ParameterTable(mixture).entries + ParameterTable(adapter, dense).entries
      + ParameterTable(adapter, mixture).entries
  }

  @Test(
    "norms and biases are the vectors: not decayed, kept in fp32, all alike at first; a router is kept in fp32, too")
  func vectors() throws {
    for entry in try Self.entries() {
      let isVector = entry.shape.count == 1
      #expect((entry.role.isNorm || entry.role.isBias) == isVector, "\(entry.key)")
      #expect(entry.role.isBias == entry.key.hasSuffix("bias"), "\(entry.key)")
      #expect(entry.role.isDecayed == !isVector, "\(entry.key)")
      #expect(entry.role.keptInFloat32 == (isVector || entry.role == .router), "\(entry.key)")
      if isVector {
        let initial = entry.role.initialValues(columns: entry.columns, layerCount: 3)
        #expect(initial == .all(entry.role.isNorm ? 1 : 0), "\(entry.key)")
      }
    }
  }

  @Test("matrices that see begin with a deviation of 1/√inputs, those of patches with all their colours")
  func sight() throws {
    let sight = SightConfiguration(
      tower: VisionTowerConfiguration(
        kind: .siglip, hiddenSize: 6, intermediateSize: 8, layerCount: 1, headCount: 2, imageSize: 8, patchSize: 4),
      projector: ProjectorConfiguration(kind: .mlp), placeholderIDs: [3])
    let table = ParameterTable(sight, width: 16)
    for (role, inputs) in [
      (ParameterRole.tower(.patch), 48.0), (.tower(.down, block: 0), 8), (.projector(.first), 6),
      (.projector(.second), 16),
    ] {
      let entry = try #require(table.entries.first { $0.role == role })
      #expect(
        entry.role.initialValues(columns: entry.columns, layerCount: 3) == .normal(deviation: 1 / inputs.squareRoot()))
    }
    #expect(ParameterRole.tower(.position).initialValues(columns: 6, layerCount: 3) == .normal(deviation: 1))
  }

  @Test("the layer is that of the key, and every weight of a layer has one")
  func layers() throws {
    for entry in try Self.entries() {
      let parts = entry.key.split(separator: ".")
      let number = parts.firstIndex(of: "layers").flatMap { Int(parts[$0 + 1]) }
      #expect(entry.layer == number, "\(entry.key)")
    }
  }

  /// What Hugging Face calls the weights of each role: the one place where keys and roles are held against each other.
  @Test(
    "a key has the role that its name says",
    arguments: [
      ("embed_tokens.weight", .embedding), ("lm_head.weight", .output),
      ("input_layernorm.weight", .attentionNorm),
      ("post_attention_layernorm.weight", .feedForwardNorm), ("model.norm.weight", .finalNorm),
      ("q_proj.bias", .queryBias), ("k_proj.bias", .keyBias), ("v_proj.bias", .valueBias),
      ("o_proj.bias", .attentionOutputBias), ("q_norm.weight", .queryNorm), ("k_norm.weight", .keyNorm),
      ("q_proj.weight", .query), ("k_proj.weight", .key), ("v_proj.weight", .value),
      ("o_proj.weight", .attentionOutput), ("mlp.gate.weight", .router),
      ("mlp.gate_proj.weight", .gate(.dense)), ("mlp.up_proj.weight", .up(.dense)),
      ("mlp.down_proj.weight", .down(.dense)), ("shared_experts.up_proj.weight", .up(.shared)),
      ("experts.1.down_proj.weight", .down(.expert(1))), ("q_proj.lora_A.weight", .loraA(.query)),
      ("mlp.down_proj.lora_B.weight", .loraB(.down)), ("experts.1.up_proj.lora_A.weight", .loraA(.up, of: .expert(1))),
      ("shared_experts.down_proj.lora_B.weight", .loraB(.down, of: .shared)),
    ] as [(String, ParameterRole)])
  func names(suffix: String, role: ParameterRole) throws {
    let found = try Self.entries().filter { $0.key.hasSuffix("." + suffix) || $0.key == suffix }
    #expect(!found.isEmpty && found.allSatisfy { $0.role == role }, "\(found)")
  }

  @Test("rotary embedding turns the outputs of Wq and Wk, and so of their adapters' B")
  func rotated() throws {
    let roles = Set(try Self.entries().map(\.role).filter(\.isRotated))
    #expect(roles == [.query, .key, .queryBias, .keyBias, .loraB(.query), .loraB(.key)])
  }
}
