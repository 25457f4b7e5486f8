import CPUEngine
import Compute
import Model
import ModelFiles

/// The model of a Hugging Face directory, ready to be asked.
///
/// - Parameters:
///   - modelDirectory: the directory itself; `resolveModelDirectory` finds it for a run or checkpoint.
///   - contextLength: the model's own when nil.
///   - rotaryScaling: the model's own when nil.
/// - Throws: `FileError`, `ModelFileError`, `ConfigurationError` or `OutOfMemoryError`, each saying what is wrong.
func loadInferenceEngine(
  modelDirectory: String, type: WeightType, contextLength: Int? = nil, rotaryScaling: RotaryScaling? = nil,
  team: WorkerTeam
) throws -> any InferenceEngine {
  let stored = try StoredModel(modelDirectory: modelDirectory)
  return try CPUInferenceEngine(
    InferenceWeights(
      stored.configuration, stored.table, type: type, team: team, hasRows: stored.hasRows, read: stored.readRows),
    contextLength: contextLength, rotaryScaling: rotaryScaling, team: team)
}
