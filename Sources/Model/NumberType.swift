/// How numbers are stored, by the names that options, reports and documents use.
///
/// A room that works with some of them only has an enumeration of its own with the same names. Files of other programs
/// keep those programs' names inside: `F32`, `BF16`, `Q8_0`.
package enum NumberType: String, CaseIterable, Sendable {
  case float32 = "fp32"
  case bfloat16 = "bf16"
  case float16 = "fp16"
  /// 8 bits a number and a scale for each 32: GGUF's q8_0.
  case q8
  /// 4 bits a number and a scale for each 32: GGUF's q4_0.
  case q4
  /// GGUF's q4_K: 4 bits a number, and for each 32 a scale and a least value of 6 bits.
  case q4K = "q4_K"

  /// Names of earlier versions and of other programs, and what they are here.
  package static let otherNames = ["f32": "fp32", "f16": "fp16", "q8_0": "q8", "q4_0": "q4"]

  /// For help pages.
  package static let otherNamesNote = "The names f32, f16, q8_0 and q4_0 are accepted, too."
}
