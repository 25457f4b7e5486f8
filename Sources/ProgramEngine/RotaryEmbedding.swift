import Programs

/// Turns the pairs (i, i + d/2) of every head by angles that follow from a token's position; Su et al. 2021
/// (arXiv 2104.09864).
///
///     (a, b) ↦ (a·cos φ - b·sin φ, b·cos φ + a·sin φ)
///
/// The gradient goes through the transposed matrix, which is the turn by -φ.
package struct RotaryEmbedding {
  /// [tokens, 1, d/2] of each token; the amplitude of YaRN is in both.
  private let cosines, sines: Tensor

  /// - Parameters:
  ///   - cosines: [positions, d/2] a table. `sines` likewise.
  ///   - rows: int32, [tokens] the row of the table for each token.
  package init(cosines: Tensor, sines: Tensor, rows: Tensor) {
    let shape = [rows.shape[0], 1, cosines.shape[1]]
    self.cosines = cosines.rows(rows).reshaped(shape)
    self.sines = sines.rows(rows).reshaped(shape)
  }

  /// - Parameter heads: [tokens, heads, d].
  package func forward(_ heads: Tensor) -> Tensor { turn(heads, sines) }

  package func backward(_ dHeads: Tensor) -> Tensor { turn(dHeads, -sines) }

  private func turn(_ heads: Tensor, _ sines: Tensor) -> Tensor {
    let half = heads.shape[2] / 2
    let parts = heads.split(2, [half, half])
    return .concatenated(
      [parts[0] * cosines - parts[1] * sines, parts[1] * cosines + parts[0] * sines], 2)
  }
}
