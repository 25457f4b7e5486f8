import CKernels
import Model

extension ElementType {
  /// What the processor multiplies fastest: bfloat16 where it has instructions for it. Elsewhere numbers of half the size
  /// have to be widened first, which costs more than reading less of them saves.
  package static var fastest: ElementType { ckMultipliesBFloat16() ? .bfloat16 : .float32 }
}
