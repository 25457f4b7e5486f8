import Machine

/// What of a model that sees is trained, where no adapter is.
package enum SightTraining: String, Sendable, CaseIterable, Codable {
  /// The projector.
  case projector
  /// The projector, and the first and the last layer of the language model.
  case projectorAndEnds = "projector-and-ends"
  /// The projector and the language model.
  case allButTower = "all-but-tower"
  case everything

  package var trainsTower: Bool { self == .everything }

  /// Whether a layer of the language model learns.
  package func trains(layer: Int, of layerCount: Int) -> Bool {
    switch self {
    case .projector: false
    case .projectorAndEnds: layer == 0 || layer == layerCount - 1
    case .allButTower, .everything: true
    }
  }

  /// Whether the weights of the language model outside of its layers learn: embedding, last norm, output.
  package var trainsOutsideLayers: Bool { self == .allButTower || self == .everything }

  package func trains(_ entry: ParameterEntry, layerCount: Int) -> Bool {
    switch entry.role {
    case .projector: true
    case .tower: trainsTower
    default: entry.layer.map { trains(layer: $0, of: layerCount) } ?? trainsOutsideLayers
    }
  }
}

extension ParameterTable {
  /// The weights that learn, where they lie in this table. Those of a model that does not see, and of an adapter, are all.
  package func learned(_ configuration: ModelConfiguration, _ learning: SightTraining) -> ParameterTable {
    guard configuration.sight != nil, entry(.embedding) != nil, learning != .everything else { return self }
    return ParameterTable(entries.filter { learning.trains($0, layerCount: configuration.layerCount) })
  }

  /// The same as ranges of elements, neighbours joined.
  package func learnedRanges(_ configuration: ModelConfiguration, _ learning: SightTraining) -> [Range<Int>] {
    let learned = learned(configuration, learning)
    guard learned != self else { return [0..<totalCount] }
    var ranges: [Range<Int>] = []
    for entry in learned.entries {
      if let last = ranges.last, entry.offset - last.upperBound < cacheLineFloats {
        ranges[ranges.count - 1] = last.lowerBound..<entry.range.upperBound
      } else {
        ranges.append(entry.range)
      }
    }
    return ranges
  }
}
