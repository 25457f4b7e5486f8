import Foundation
import Compute
import Generation
import Model
import ModelFiles
import Storage
import Testing
import minimind

@Suite("Defaults")
struct DefaultsTests {
  /// The text of the value that an option has when it is absent; nil for none, a flag, or a list.
  private func defaultValue(_ option: any OptionDescription) throws -> String? {
    func text(_ value: Any) -> String? {
      let mirror = Mirror(reflecting: value)
      if mirror.displayStyle == .optional { return mirror.children.first.flatMap { text($0.value) } }
      if let number = value as? Double { return formatNumber(number) }
      if value is Bool || mirror.displayStyle == .collection { return nil }
      if let choice = value as? any RawRepresentable { return "\(choice.rawValue)" }
      return "\(value)"
    }
    // The value's box has one property.
    return try Mirror(reflecting: option.value(of: [])).children.first.flatMap { text($0.value) }
  }

  @Test("the help page of every command says the values that its absent options have")
  func helpPages() throws {
    for command in allCommands {
      for option in command.options where !option.isRequired {
        guard let value = try defaultValue(option) else { continue }
        #expect(option.defaultText == value, "\(command.name) --\(option.name)")
      }
    }
  }

  @Test("a number that a help page gives as a default is the option's own value, or one that training resolves")
  func numbers() throws {
    let resolved = ["pretrain", "sft", "lora", "dpo", "kto", "reward", "grpo", "ppo"].map { [$0] }
    for command in allCommands where !resolved.contains(command.path) {
      for option in command.options where Double(option.defaultText ?? "") != nil {
        #expect(try defaultValue(option) == option.defaultText, "\(command.name) --\(option.name)")
      }
    }
  }

  @Test("the types of numbers have the same names everywhere, and the older names are accepted")
  func numberTypes() throws {
    let names = Set(NumberType.allCases.map(\.rawValue))
    for subset in [
      ElementType.allCases.map(\.rawValue), WeightType.allCases.map(\.rawValue),
      WeightEncoding.allCases.map(\.rawValue),
    ] {
      #expect(names.isSuperset(of: subset), "\(subset)")
    }
    for (line, name) in [("generate --model M --type f32", "fp32"), ("generate --model M --type fp32", "fp32")] {
      guard
        case .run(let invocation) = try parseArguments(
          line.split(separator: " ").map(String.init), commands: allCommands)
      else { continue }
      #expect(invocation[GenerateOptions.type].rawValue == name)
    }
    #expect(Set(NumberType.otherNames.values).isSubset(of: names))
  }

  @Test("sampling has the same defaults on the command line, in requests, and in the files for other programs")
  func sampling() throws {
    for command in ["generate", "chat"] {
      guard case .run(let invocation) = try parseArguments([command, "--model", "MODEL"], commands: allCommands) else {
        Issue.record("\(command) does not run")
        continue
      }
      #expect(GenerateOptions.sampling(invocation) == SamplingSettings())
    }
    let sampling = SamplingSettings()
    let file = ModelConfiguration(hiddenSize: 8, layerCount: 1, headCount: 1, keyValueHeadCount: 1)
      .huggingFaceGenerationConfig()
    #expect(file["temperature"]?.doubleValue.map { Float($0) } == sampling.temperature)
    #expect(file["top_k"]?.integerValue == sampling.topK)
  }
}
