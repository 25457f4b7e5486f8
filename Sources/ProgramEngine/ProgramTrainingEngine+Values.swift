import Model
import Programs

/// What the engine keeps of each weight, in and out.
extension ProgramTrainingEngine {
  package func keeps(_ values: EngineValues, of entry: ParameterEntry) -> Bool {
    switch values {
    case .weights: true
    case .gradients, .firstMoment: optimizer != nil
    case .secondMoment: optimizer.map { !entry.isMovedByMuon($0) } ?? false
    }
  }

  package func read(_ values: EngineValues, of entry: ParameterEntry) -> [Float] {
    let none = [Float](repeating: 0, count: entry.count)
    guard isKept(values, entry) else { return none }
    let place = place(values, entry)
    return numbers(entry) {
      switch values {
      case .weights: try runner.download(weights[place]).floats
      case .gradients: try downloadAll(gradients[place]).reduce(none) { zip($0, $1).map(+) }
      case .firstMoment: try whole(firstMoments[place], entry)
      case .secondMoment: try whole(secondMoments[place], entry)
      }
    }
  }

  /// Whether this process has such values: moments belong to one.
  private func isKept(_ values: EngineValues, _ entry: ParameterEntry) -> Bool {
    values == .weights || values == .gradients || moved.contains(entry)
  }

  /// A weight's numbers of which each replica has its share.
  func whole(_ memory: Runner.Memory, _ entry: ParameterEntry) throws -> [Float] {
    let share = share(entry)
    return share.whole(share.isPart ? try downloadAll(memory) : [try runner.download(memory).floats])
  }

  func numbers(_ entry: ParameterEntry, _ read: () throws -> [Float]) -> [Float] {
    device.attempt(read) ?? [Float](repeating: .nan, count: entry.count)
  }

  package func write(_ values: EngineValues, of entry: ParameterEntry, _ numbers: [Float]) {
    guard isKept(values, entry) else { return }
    let place = place(values, entry)
    let tensor = HostTensor(numbers, entry.shape)
    device.attempt {
      switch values {
      case .weights: weights[place] = try runner.upload(tensor)
      case .gradients:
        let others = [HostTensor](
          repeating: HostTensor([Float](repeating: 0, count: numbers.count), entry.shape), count: runner.replicas - 1)
        gradients[place] = try runner.upload([tensor] + others)
        gradientsChanged()
      case .firstMoment: firstMoments[place] = try runner.upload(share(entry).shares(of: numbers))
      case .secondMoment: secondMoments[place] = try runner.upload(share(entry).shares(of: numbers))
      }
    }
  }

  func place(_ values: EngineValues, _ entry: ParameterEntry) -> Int {
    let entries =
      switch values {
      case .weights, .gradients: trained.entries
      case .firstMoment: moved
      case .secondMoment: withSecond
      }
    guard let place = entries.firstIndex(of: entry) else {
      preconditionFailure("no \(values) of \(entry.key) are kept")
    }
    return place
  }

  package func modelWeight(_ entry: ParameterEntry) -> [Float] {
    guard let adapter = programs.model.adapter else { return read(.weights, of: entry) }
    var values = numbers(entry) { try runner.download(frozen[table.entries.firstIndex(of: entry)!]).floats }
    guard let a = trained.entry(LoRAKey.a(entry.key)), let b = trained.entry(LoRAKey.b(entry.key)) else {
      return values
    }
    addLowRankProduct(
      read(.weights, of: b), read(.weights, of: a), outputs: b.shape[0], rank: a.shape[0], inputs: a.shape[1],
      scale: adapter.scale, to: &values)
    return values
  }
}
