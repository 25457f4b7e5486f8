import Machine
import Model
import PJRT
import ProgramEngine
import Programs
import Storage
import Training

/// `minimind bench plan`: what training would take on a GPU, which need not be there.
let benchPlanCommand: Command = {
  let model = Option.text(
    "model", "NAME|FILE", default: "small",
    help: "\(ModelConfiguration.names.joined(separator: ", ")), or a config.json.")
  let card = Option<GPUCard?>.optionalChoice(
    "card", among: GPUCard.all, called: \.name, defaultText: "the device that the plugin finds",
    help: "A card to compile for that need not be there, by NVIDIA's plugin, which then needs ptxas and libdevice "
      + "in the packages next to it.")
  let precision = Option(
    SettingList.shared.precision, of: .pretrain.computed(by: ProgramEngineProvider<PJRTRunner>.self))
  let optimizer = Option.choice(
    "optimizer", default: OptimizerKind.adamW, help: SettingList.shared.optimizer.description.help)
  let microBatchTokens = Option.integer(
    "micro-batch-tokens", default: 32768, in: 2...1 << 24, help: "The most tokens that go through the model at once.")
  let composed = Option.flag(
    "composed-attention", help: "Plans without the kernel of attention, as a card runs that the kernel fails on.")
  let sequenceLength = Option.integer(
    "sequence-length", default: 512, in: 2...1 << 20, help: "The most tokens of a document.")
  return Command(
    "bench", "plan", summary: "compiles a training step for a GPU and tells what memory it takes, without running it",
    options: [model, card, precision, optimizer, microBatchTokens, sequenceLength, composed, Option.json],
    example: "minimind bench plan --model base --card rtx-3090"
  ) { invocation in
    let plugin = try PJRTPlugin.find()
    let configuration = try modelConfiguration(invocation[model])
    let settings = EngineSettings(
      precision: invocation[precision], maximumTokens: invocation[microBatchTokens],
      longestDocument: invocation[sequenceLength], recomputesActivations: true, optimizer: invocation[optimizer])
    func programs(_ sizes: ProgramSizes) throws -> StepPrograms {
      try StepPrograms(configuration, lora: nil, settings, sizes)
    }
    let plan: TrainingCost
    if let card = invocation[card] {
      let target = try PJRTTarget(plugin: plugin, card: card)
      let hasKernel = target.hasAttentionKernel(
        headSize: configuration.headSize, TensorElement(invocation[precision]))
      let form: AttentionForm = hasKernel && !invocation[composed] ? .kernel : .composed
      plan = try TrainingCost(programs(ProgramSizes(attention: form)), form, on: target, card.kind, card)
    } else {
      let runner = try PJRTRunner(plugin: plugin, cache: nil)
      let sizes = ProgramEngineProvider(runner).sizes(of: configuration, settings)
      plan = try TrainingCost(programs(sizes), sizes.attention, on: runner, runner.devices[0].kind)
    }
    if invocation[Option.json] { try printJSON(plan) } else { try Console.standardOutput.write(plan.text) }
  }
}()

/// What the programs of a step take on a device.
private struct TrainingCost: Encodable {
  /// One program.
  struct Cost: Encodable {
    var temporaryBytes: Int
    /// Additions and multiplications of its products.
    var productOperations: Int
    var compileSeconds: Double

    enum CodingKeys: String, CodingKey {
      case temporaryBytes = "temporary_bytes"
      case productOperations = "product_operations"
      case compileSeconds = "compile_seconds"
    }
  }

  var device: String
  /// How it is computed.
  var attention: AttentionForm
  var deviceBytes: Int?
  /// Published peaks: operations of products of bfloat16 a second, and bytes of memory a second.
  var productRate: Double?
  var bandwidth: Double?
  /// Weights, gradients and moments; and all with the most that is added.
  var keptBytes: Int
  var neededBytes: Int
  /// Of a micro-batch, and of the optimizer.
  var gradients: Cost
  var step: Cost

  enum CodingKeys: String, CodingKey {
    case device, attention, gradients, step, bandwidth
    case productRate = "product_rate"
    case deviceBytes = "device_bytes"
    case keptBytes = "kept_bytes"
    case neededBytes = "needed_bytes"
  }

  init(
    _ programs: StepPrograms, _ attention: AttentionForm, on meter: some ProgramMeter, _ device: String,
    _ card: GPUCard? = nil
  ) throws {
    func cost(_ program: Program) throws -> Cost {
      var bytes = 0
      let seconds = try measuredSeconds { bytes = try meter.temporaryBytes(program) }
      return Cost(
        temporaryBytes: bytes, productOperations: program.productOperations, compileSeconds: seconds)
    }
    (self.device, self.attention) = (device, attention)
    deviceBytes = meter.memoryBytes
    (productRate, bandwidth) = (card?.productRate, card?.bandwidth)
    gradients = try cost(programs.pass)
    step = try cost(programs.step!)
    keptBytes = programs.keptBytes
    neededBytes = programs.neededBytes(pass: gradients.temporaryBytes, step: step.temporaryBytes)
  }

  var text: String {
    func row(_ cost: Cost) -> String {
      "\(formatBytes(cost.temporaryBytes)), compiled in \(formatDuration(cost.compileSeconds))"
    }
    return renderPairs([
      (name: "device", value: device + (deviceBytes.map { ", \(formatBytes($0))" } ?? "")),
      (name: "attention", value: attention == .kernel ? "by a kernel" : "composed"),
      (name: "weights and optimizer", value: formatBytes(keptBytes)),
      (name: "a micro-batch", value: row(gradients)),
      (name: "a step of the optimizer", value: row(step)),
      (name: "at most together", value: formatBytes(neededBytes)),
    ])
  }
}
