import Foundation
import Model
import Storage

/// The options that a training run was asked for: those given on the command line, or the record of a run with all that it
/// found. `ResolvedSettings` are what follows from them.
@dynamicMemberLookup
package struct TrainingSettings: Equatable, Sendable {
  /// By the name of the setting.
  private var values: [String: JSON] = [:]

  package init() {}

  /// What every new run gives.
  package init(data: String, threads: Int) {
    self.data = data
    self.threads = threads
  }

  /// The value that was given; nil for none.
  package subscript<Declared: TypedSetting>(
    dynamicMember setting: KeyPath<SettingList, Declared>
  ) -> Declared.Value? {
    get { self[SettingList.shared[keyPath: setting].description.name].flatMap(Declared.Value.init(json:)) }
    set { self[SettingList.shared[keyPath: setting].description.name] = newValue?.json }
  }

  /// The value of the setting with a name. To be one of its kind.
  package subscript(name: String) -> JSON? {
    get { values[name] }
    set { values[name] = newValue }
  }

  /// The model that the run begins with, for people: a path, or the name of a new one.
  package var modelName: String { self.model ?? self.from ?? "" }

  // MARK: - In a record

  /// One member a value, sorted by name.
  package var json: JSON {
    .object(values.sorted { $0.key < $1.key }.map { JSON.Member($0.key, $0.value) })
  }

  /// - Parameter json: of a record; what it lacks has the value that older runs had.
  /// - Throws: `SettingProblem` that names the first member which is no setting of the stage, or has no value of one.
  init(json: JSON, of stage: Stage) throws(SettingProblem) {
    try self.init(partOf: json, stage)
    for setting in stage.settings where values[setting.name] == nil { values[setting.name] = setting.valueInOlderRuns }
  }

  /// - Parameter json: some settings alone.
  /// - Throws: `SettingProblem` as above.
  init(partOf json: JSON, _ stage: Stage) throws(SettingProblem) {
    guard case .object(let members) = json else { throw SettingProblem("options is no object.") }
    let settings = stage.settings
    for member in members {
      guard let setting = settings.first(where: { $0.name == member.key }) else {
        throw SettingProblem(
          "\(JSON.quoted(member.key)) is no option of minimind \(stage.name). A later version may have written it.")
      }
      do { values[setting.name] = try setting.kind.checked(member.value) } catch {
        throw SettingProblem("\(setting.name) \(error)")
      }
    }
  }

  /// The first setting that a record of the stage has and these settings lack.
  func missingSetting(of stage: Stage) -> String? {
    stage.settings.first { $0.standard(stage) != nil && values[$0.name] == nil }?.name
  }

  /// The flags, as "--seed", whose values in `other` would make another run of this one.
  func alteringOptions(in other: TrainingSettings, of stage: Stage) -> [String] {
    let allowed: SettingFreedom = hasOtherLength(than: other) ? [.onResume, .onExtension] : .onResume
    return stage.settings.filter { setting in
      func value(_ settings: TrainingSettings) -> JSON? { settings[setting.name] ?? setting.standard(stage) }
      return setting.freedom.isDisjoint(with: allowed) && value(self) != value(other)
    }.map { "--" + $0.name }
  }

  // MARK: - Changes

  /// These settings with those that `asked` gives. Of a run that gets another length, the warm-up is found again unless
  /// it is given: it belongs to the new schedule.
  package func changed(by asked: TrainingSettings) -> TrainingSettings {
    var changed = self
    for (name, value) in asked.values { changed.values[name] = value }
    // One kind of length takes the place of the other.
    if asked.steps != nil, asked.epochs == nil { changed.epochs = nil }
    if asked.epochs != nil, asked.steps == nil { changed.steps = nil }
    if changed.hasOtherLength(than: self), asked.warmupSteps == nil { changed.warmupSteps = nil }
    return changed
  }

  func hasOtherLength(than other: TrainingSettings) -> Bool {
    self.epochs != other.epochs || self.steps != other.steps
  }

  /// Those of the length and the schedule, which an extension may change.
  func scheduleSettings(of stage: Stage) -> TrainingSettings {
    var part = TrainingSettings()
    for setting in stage.settings where setting.freedom.contains(.onExtension) {
      part.values[setting.name] = values[setting.name]
    }
    return part
  }

  /// These settings with the length and the schedule of others.
  func replacingSchedule(by other: TrainingSettings, of stage: Stage) -> TrainingSettings {
    var changed = self
    for setting in stage.settings where setting.freedom.contains(.onExtension) {
      changed.values[setting.name] = other.values[setting.name]
    }
    return changed
  }

  // MARK: - Contradictions

  /// - Throws: `TrainingError` when two options contradict each other.
  func validate(for stage: Stage) throws(TrainingError) {
    guard self.model == nil || self.from == nil else {
      throw TrainingError("--model makes a new model and --from trains one further. Give one of them.")
    }
    guard self.epochs == nil || self.steps == nil else {
      throw TrainingError("--epochs and --steps both say how long the run is. Give one of them.")
    }
    let hasAdapter = hasAdapter(in: stage)
    guard hasAdapter || (self.loraAlpha == nil && self.loraDropout == nil && self.loraTargets == nil) else {
      throw TrainingError("--lora-alpha, --lora-dropout and --lora-targets need a --lora-rank above 0. Give one.")
    }
    if let optimizer = self.optimizer, optimizer != .adamW, hasAdapter {
      throw TrainingError(
        "--optimizer \(optimizer.rawValue) is for the matrices of a model, which an adapter leaves as they are. "
          + "Leave it out.")
    }
    guard self.loraTargets?.isEmpty != true else {
      throw TrainingError("--lora-targets names no layer. Leave it out for all of them.")
    }
    try validatePreferences()
    try validateOnPolicy(stage)
    let microBatch = self.microBatchTokens ?? defaultMicroBatch
    if let sequenceLength = self.sequenceLength, sequenceLength > microBatch {
      throw TrainingError(
        "--sequence-length \(sequenceLength) does not fit into --micro-batch-tokens \(microBatch). "
          + "Raise the latter or lower the former.")
    }
    if let batchTokens = self.batchTokens, batchTokens < microBatch {
      throw TrainingError(
        "--batch-tokens \(batchTokens) is less than --micro-batch-tokens \(microBatch). "
          + "Raise the former or lower the latter.")
    }
  }

  /// Whether an adapter is trained, rather than the whole model.
  func hasAdapter(in stage: Stage) -> Bool { self.loraRank ?? stage.defaultLoRARank > 0 }

  /// `usualMicroBatch`; more for longer sequences, less where the batch is smaller.
  var defaultMicroBatch: Int {
    min(max(ResolvedSettings.usualMicroBatch, self.sequenceLength ?? 0), self.batchTokens ?? .max)
  }
}
