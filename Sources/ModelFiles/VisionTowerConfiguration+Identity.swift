import Model
import Storage

extension VisionTowerConfiguration {
  /// What tells a tower from others, in hexadecimal: SHA-256 over its settings, over which of its hidden states is used, and
  /// over its weights in fp32.
  ///
  /// - Parameter read: writes the fp32 values of a weight of the tower to an address.
  /// - Throws: what `read` throws.
  package func identity(read: (ParameterEntry, UnsafeMutablePointer<Float>) throws -> Void) throws -> String {
    let hash = SHA256()
    func add(_ text: String) { Array((text + "\n").utf8).withUnsafeBytes { hash.update($0) } }
    add("\(kind.rawValue) \(hiddenSize) \(intermediateSize) \(layerCount) \(headCount) \(imageSize) \(patchSize)")
    add("\(layerNormEpsilon) \(activation.rawValue)")
    add("\(feature.layer) \(feature.isNormalized) \(feature.dropsClassToken)")
    let sight = SightConfiguration(
      tower: self, projector: ProjectorConfiguration(kind: .linear), placeholderIDs: [0])
    for entry in ParameterTable(sight, width: hiddenSize).entries {
      guard case .tower = entry.role else { continue }
      add(entry.key)
      var values = [Float](repeating: 0, count: entry.count)
      try values.withUnsafeMutableBufferPointer { try read(entry, $0.baseAddress!) }
      values.withUnsafeBytes { hash.update($0) }
    }
    return SHA256.hexadecimal(hash.finalize())
  }
}
