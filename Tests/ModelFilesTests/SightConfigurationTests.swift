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

  /// A tower of SigLIP with its norm, or one of CLIP with all rows, and a projector.
  private func shape(_ kind: VisionTowerConfiguration.Kind, _ projector: ProjectorConfiguration, _ placeholders: [Int])
    throws -> ModelConfiguration
  {
    var configuration = try read(Self.config)
    configuration.sight = SightConfiguration(
      tower: VisionTowerConfiguration(
        kind: kind, hiddenSize: 16, intermediateSize: 24, layerCount: 3, headCount: 2, imageSize: 12, patchSize: 4),
      projector: projector, placeholderIDs: placeholders)
    return configuration
  }

  @Test(
    "a projector of one matrix has an identity behind it in LLaVA's layout, and several placeholders their own setting")
  func oneMatrix() throws {
    let configuration = try shape(.clip, ProjectorConfiguration(kind: .linear), [5, 6])
    let parameters = try Parameters(configuration: configuration, seed: 3)
    try withTemporaryDirectory { directory in
      let path = directory + "/model"
      try parameters.save(modelDirectory: path)
      let again = try Parameters(modelDirectory: path)
      let sight = try #require(again.configuration.sight)
      #expect(sight.placeholder == [5, 5, 5, 5, 5, 6, 6, 6, 6, 6] && sight.projector.kind == .linear)
      #expect(again.allValues == parameters.allValues)
      let file = try SafetensorsFile(path + "/model.safetensors")
      let identity = try #require(file.tensor("multi_modal_projector.linear_2.weight"))
      #expect(identity.shape == [32, 32])
      // One that is otherwise is a model that this program does not have.
      let other = try shape(.clip, ProjectorConfiguration(kind: .mlp), [5])
      try Parameters(configuration: other, seed: 3).save(modelDirectory: directory + "/other")
      let config = try String(contentsOfFile: directory + "/other/config.json", encoding: .utf8)
        .replacingOccurrences(of: "\"projector_hidden_act\": \"gelu\"", with: "\"projector_hidden_act\": \"linear\"")
      try config.write(toFile: directory + "/other/config.json", atomically: true, encoding: .utf8)
      let error = #expect(throws: ModelFileError.self) { try Parameters(modelDirectory: directory + "/other") }
      #expect(error?.description.contains("is not that of a projector of one matrix") == true)
    }
  }

  @Test("the last state of a SigLIP tower with its norm is a model of Lfm2Vl's class", arguments: [1, 3])
  func lastState(unshuffle: Int) throws {
    let configuration = try shape(.siglip, ProjectorConfiguration(kind: .normalizedMLP, unshuffle: unshuffle), [5])
    let parameters = try Parameters(configuration: configuration, seed: 3)
    try withTemporaryDirectory { directory in
      try parameters.save(modelDirectory: directory + "/model")
      let config = try JSON(contentsOf: directory + "/model/config.json")
      #expect(config["model_type"] == .string("lfm2_vl") && config["vision_config"]?["num_patches"] == .integer(9))
      let again = try Parameters(modelDirectory: directory + "/model")
      var expected = configuration
      expected.sight?.preprocessing = again.configuration.sight?.preprocessing
      #expect(again.configuration == expected)
      #expect(again.allValues == parameters.allValues)
      #expect(try StoredTower(directory: directory + "/model").configuration == configuration.sight?.tower)
    }
  }

  @Test("what no class of transformers can express is not written")
  func notExpressible() throws {
    var configuration = try read(Self.config)
    configuration.sight?.projector = ProjectorConfiguration(kind: .normalizedMLP)
    let parameters = try Parameters(configuration: configuration, seed: 3)
    try withTemporaryDirectory { directory in
      let error = #expect(throws: ModelFileError.self) { try parameters.save(modelDirectory: directory + "/model") }
      #expect(error?.description.contains("a projector with a norm") == true)
      #expect(!FileManager.default.fileExists(atPath: directory + "/model"))
    }
  }
}
