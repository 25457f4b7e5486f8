import Foundation
import Model
import ModelFiles
import Storage
import TestSupport
import Testing
import Vision

/// LLaVA's settings and directories.
@Suite("Directories of models that see")
struct SightConfigurationTests {
  private static let config = """
    {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": 5,
     "vision_feature_layer": -2, "vision_feature_select_strategy": "full", "projector_hidden_act": "gelu",
     "text_config": {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
       "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 40},
     "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 16, "intermediate_size": 24,
       "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}}
    """

  private func read(_ text: String) throws -> ModelConfiguration {
    try withTemporaryDirectory { directory in
      let path = directory + "/config.json"
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      return try ModelConfiguration(huggingFaceConfig: path)
    }
  }

  @Test("tower, projector and placeholder are read, with the defaults of transformers")
  func reading() throws {
    let configuration = try read(Self.config)
    let sight = try #require(configuration.sight)
    #expect(configuration.hiddenSize == 32 && configuration.layerCount == 2 && configuration.keyValueHeadCount == 2)
    #expect(sight.tower.kind == .siglip && sight.tower.activation == .tanh && sight.tower.layerNormEpsilon == 1e-6)
    #expect(sight.tower.feature == .init(layer: 2, isNormalized: false, dropsClassToken: false))
    #expect(sight.projector == ProjectorConfiguration(kind: .mlp, activation: .exact))
    #expect(sight.placeholder == [5, 5, 5, 5] && sight.rowsPerPicture == 4)
    #expect(configuration.parameterCount == (try ParameterTable(configuration).entries.reduce(0) { $0 + $1.count }))
  }

  @Test(
    "what would change the arithmetic and is not supported is refused by name",
    arguments: [
      ("\"projector_hidden_act\": \"gelu\"", "\"projector_hidden_act\": \"relu\"", "projector_hidden_act"),
      ("\"vision_feature_layer\": -2", "\"vision_feature_layer\": [-2, 1]", "vision_feature_layer"),
      ("\"vision_feature_layer\": -2", "\"vision_feature_layer\": -1", "vision_feature_layer"),
      ("\"vision_feature_layer\": -2", "\"vision_feature_layer\": 9", "vision_feature_layer"),
      ("\"full\"", "\"default\"", "vision_feature_select_strategy"),
      ("\"full\"", "\"full\", \"multimodal_projector_bias\": false", "multimodal_projector_bias"),
      ("siglip_vision_model", "pixtral", "pixtral"), ("\"patch_size\": 4", "\"patch_size\": 40", "patches"),
      ("\"image_token_index\": 5", "\"image_token_index\": 99", "placeholder"),
      ("\"num_attention_heads\": 2, \"image_size\"", "\"num_attention_heads\": 3, \"image_size\"", "heads"),
      ("\"image_size\": 8", "\"image_size\": 99999999", "image_size"),
    ])
  func refusing(change: (from: String, to: String, names: String)) throws {
    let text = Self.config.replacingOccurrences(of: change.from, with: change.to)
    #expect(text != Self.config)
    let error = #expect(throws: (any Error).self) { try read(text) }
    #expect("\(error!)".contains(change.names), "\(error!)")
  }

  @Test("a directory that is written reads back with the same bits, pictures' settings included")
  func roundTrip() throws {
    var configuration = try read(Self.config)
    let settings = """
      {"image_processor_type": "SiglipImageProcessor", "size": {"height": 8, "width": 8}, "resample": 2, "other": [1]}
      """
    configuration.sight?.preprocessing = try JSON(parsing: settings)
    let parameters = try Parameters(configuration: configuration, seed: 3)
    try withTemporaryDirectory { directory in
      try parameters.save(modelDirectory: directory + "/model")
      let again = try Parameters(modelDirectory: directory + "/model")
      #expect(again.configuration == configuration)
      #expect((0..<parameters.table.totalCount).allSatisfy { parameters.values[$0] == again.values[$0] })
      let sight = try #require(again.configuration.sight)
      let processor = try PictureProcessor(sight, path: directory)
      #expect(processor.size == .exact(width: 8, height: 8) && processor.resampling == .bilinear)
      // Its tower can be another model's.
      let tower = try StoredTower(directory: directory + "/model")
      #expect(tower.configuration == sight.tower && tower.preprocessing == sight.preprocessing)
    }
  }

  @Test("what LLaVA's layout cannot express is not written")
  func notExpressible() throws {
    var configuration = try read(Self.config)
    configuration.sight?.projector = ProjectorConfiguration(kind: .normalizedMLP)
    let parameters = try Parameters(configuration: configuration, seed: 3)
    try withTemporaryDirectory { directory in
      #expect(throws: ModelFileError.self) { try parameters.save(modelDirectory: directory + "/model") }
      #expect(!FileManager.default.fileExists(atPath: directory + "/model"))
    }
  }
}
