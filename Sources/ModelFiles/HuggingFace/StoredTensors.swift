import Foundation
import Model
import Storage

/// The weights of a model by their names, and where they are.
package struct StoredTensors: Sendable {
  /// The file that a message about missing weights should name.
  let path: String
  /// By the name that `transformers` has for the weight.
  let weights: [String: any StoredWeight]
  /// Whether the one matrix of a model whose output is its embedding was found under the output's name.
  var storesEmbeddingAsOutput = false
  /// What the first file says of itself.
  var metadata: [String: String] = [:]
}

extension StoredTensors {
  /// Those of a Hugging Face directory: `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
  ///
  /// - Throws: `FileError` or `ModelFileError`.
  init(directory: String) throws {
    let single = directory + "/model.safetensors"
    let index = single + ".index.json"
    let files: [SafetensorsFile]
    if FileManager.default.fileExists(atPath: single) || !FileManager.default.fileExists(atPath: index) {
      guard FileManager.default.fileExists(atPath: single) else {
        throw ModelFileError.notAModel(
          path: directory, reason: "it has no model.safetensors (weights in other formats are not read)")
      }
      path = single
      files = [try SafetensorsFile(single)]
    } else {
      path = index
      files = try Self.shards(index, in: directory)
    }
    (weights, storesEmbeddingAsOutput) = try Self.weights(of: files)
    metadata = files.first?.metadata ?? [:]
  }

  /// The files that an index lists. What they hold counts, whether the index knows of it or not, as in `transformers`.
  private static func shards(_ index: String, in directory: String) throws -> [SafetensorsFile] {
    guard case .object(let map)? = try JSON(contentsOf: index)["weight_map"] else {
      throw ModelFileError.malformed(path: index, fault: "it has no object 'weight_map'")
    }
    var files: [SafetensorsFile] = []
    var positions: [String: Int] = [:]
    for member in map {
      guard let name = member.value.stringValue, !name.isEmpty, !name.contains("/"), name != "..",
        !name.contains("\0")
      else {
        throw ModelFileError.malformed(
          path: index, fault: "the shard of '\(member.key.prefix(200))' is not the name of a file beside it")
      }
      if positions[name] == nil {
        positions[name] = files.count
        files.append(try SafetensorsFile(directory + "/" + name))
      }
    }
    for member in map where !files.contains(where: { $0.tensor(member.key) != nil }) {
      throw ModelFileError.malformed(
        path: directory + "/" + (member.value.stringValue ?? ""),
        fault: "the index promises '\(member.key.prefix(200))', which is not there")
    }
    return files
  }

  private static func weights(of files: [SafetensorsFile]) throws -> ([String: any StoredWeight], Bool) {
    let names = files.flatMap { $0.tensors.map(\.name) }
    let isBare = names.contains { withoutWrappers($0) == "embed_tokens.weight" }
    var weights: [String: any StoredWeight] = [:]
    for file in files {
      for tensor in file.tensors {
        for (name, part) in parts(of: tensor, named: weightName(tensor.name, isBare: isBare)) {
          let weight = SafetensorsWeight(file: file, tensor: part)
          guard let other = weights.updateValue(PatchRowsWeight(weight, named: name) ?? weight, forKey: name) else {
            continue
          }
          throw ModelFileError.malformed(
            path: file.path,
            fault:
              "'\(tensor.name.prefix(200))' and '\(other.storedName.prefix(200))' of the same model are one weight"
          )
        }
      }
    }
    guard weights[ParameterKey.embedding] == nil, let output = weights.removeValue(forKey: ParameterKey.output)
    else {
      return (weights, false)
    }
    weights[ParameterKey.embedding] = output
    return (weights, true)
  }

  /// The weights that a tensor holds: itself, or the matrices of all experts of a layer, which `transformers` 5 has in one:
  /// `gate_up_proj` [experts, 2·intermediate, hidden], gate before up, and `down_proj` [experts, hidden, intermediate].
  private static func parts(
    of tensor: SafetensorsFile.Tensor, named name: String
  ) -> [(name: String, part: SafetensorsFile.Tensor)] {
    let suffixes = [
      (".mlp.experts.gate_up_proj", ["gate_proj", "up_proj"]), (".mlp.experts.down_proj", ["down_proj"]),
    ]
    guard let (suffix, parts) = suffixes.first(where: { name.hasSuffix($0.0) }), tensor.shape.count == 3,
      (1...1 << 8).contains(tensor.shape[0]), tensor.shape[1] % parts.count == 0
    else { return [(name, tensor)] }
    let prefix = name.dropLast(suffix.count) + ".mlp.experts."
    let (rows, columns) = (tensor.shape[1] / parts.count, tensor.shape[2])
    let byteCount = rows * columns * tensor.type.byteCount
    return (0..<tensor.shape[0] * parts.count).map { place in
      let (expert, part) = place.quotientAndRemainder(dividingBy: parts.count)
      return (
        "\(prefix)\(expert).\(parts[part]).weight",
        SafetensorsFile.Tensor(
          name: tensor.name, type: tensor.type, shape: [rows, columns], offset: tensor.offset + place * byteCount,
          byteCount: byteCount)
      )
    }
  }

  /// The name of a weight in `transformers`, for one that a wrapper around the model, or saving its inner model alone, has
  /// changed.
  private static func weightName(_ stored: String, isBare: Bool) -> String {
    var name = withoutWrappers(stored)
    while name.hasPrefix("model.model.") { name = String(name.dropFirst("model.".count)) }
    if let name = sightName(name) { return name }
    return isBare && name != ParameterKey.output ? "model." + name : name
  }

  /// The name of a weight of a model that sees: `transformers` 4 has `language_model.model.…` in its files, 5 in memory
  /// `model.language_model.…`, and leaves "vision_model." out of a tower's. Nil for other weights.
  static func sightName(_ stored: String) -> String? {
    let name = stored.hasPrefix("model.") ? String(stored.dropFirst("model.".count)) : stored
    func rest(_ prefix: String) -> String? { name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : nil }
    if let rest = rest("language_model.model.") ?? rest("language_model.layers.").map({ "layers." + $0 }) {
      return "model." + rest
    }
    if let rest = rest("language_model.") {
      return rest == ParameterKey.output ? rest : "model." + rest
    }
    if let rest = rest(VisionTowerConfiguration.prefix) ?? rest("vision_tower.") {
      return VisionTowerConfiguration.prefix + rest
    }
    return name.hasPrefix("multi_modal_projector.") ? name : nil
  }

  /// Whether a name that `sightName` has given is of a tower or a projector.
  static func isOfSight(_ name: String) -> Bool {
    name.hasPrefix(VisionTowerConfiguration.prefix) || name.hasPrefix("multi_modal_projector.")
  }

  /// `stored` without the names under which `torch.compile` and data-parallel training hold a model.
  private static func withoutWrappers(_ stored: String) -> String {
    stored.split(separator: ".", omittingEmptySubsequences: false)
      .filter { $0 != "_orig_mod" && $0 != "module" }.joined(separator: ".")
  }
}
