/// The models of llama.cpp that this program has, by `general.architecture`.
enum GGUFArchitecture: String, CaseIterable {
  case llama
  case qwen2
  case qwen3
  case qwen3Mixture = "qwen3moe"
  case ernieMixture = "ernie4_5-moe"

  /// Whether rotary embedding turns adjacent dimensions there; Qwen's turns halves, as here.
  var rotatesAdjacentPairs: Bool { self == .llama || self == .ernieMixture }
  var isMixture: Bool { self == .qwen3Mixture || self == .ernieMixture }
  var normalizesQueriesAndKeys: Bool { self == .qwen3 || self == .qwen3Mixture }
}
