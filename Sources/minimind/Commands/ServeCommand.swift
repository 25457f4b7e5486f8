import CPUEngine
import Foundation
import Generation
import Machine
import ModelFiles
import Serving
import Storage
import Tokenization

/// `minimind serve`: a model for clients of OpenAI's API, and a page to talk with it.
let serveCommand: Command = {
  let host = Option.text(
    "host", "ADDRESS", default: "127.0.0.1",
    help: "Where to listen; 0.0.0.0 for all addresses of this machine, which needs a key or --allow-open.")
  let port = Option.integer("port", default: 8080, in: 0...65535, help: "The port to listen on; 0: any free one.")
  let parallel = Option.integer(
    "parallel", default: 32, in: 1...CPUInferenceEngine.limits.sequences,
    help: "Most answers that are written at the same time.")
  let queue = Option.integer(
    "queue", default: 128, in: 0...100_000,
    help: "Answers that may wait for their turn; further requests get status 429 with Retry-After."
  )
  let cacheTokens = Option.optionalInteger(
    "cache-tokens", in: 16...1 << 30,
    defaultText: "the context for each of --parallel, in at most half of the memory that is free at the start",
    help: "Tokens whose keys and values are kept, for all answers together and for prompts with the same beginning.")
  let clientTimeout = Option.number(
    "client-timeout", default: 60, in: 0.1...86400,
    help: "Seconds that a client has to send a request, and to read an answer that is complete.")
  let shorten = Option.choice(
    "shorten", default: Shortening.none,
    help: "What to leave out of a conversation that is too long: its oldest turns, or nothing, which refuses it.")
  let fetchImages = Option.flag(
    "fetch-images",
    help:
      "Fetches pictures that requests name by https:// or http:// addresses, from public addresses only. Clients of the "
      + "server can then make it ask other servers.")
  let strictModel = Option.flag("strict-model", help: "Refuses requests that name another model.")
  return Command(
    "serve", summary: "lets clients of OpenAI's API, and browsers, use a model",
    options: [GenerateOptions.model, host, port] + ServeAccess.options + [
      shorten, strictModel, fetchImages, TemplateOptions.variables, parallel, queue, cacheTokens, clientTimeout,
      GenerateOptions.type,
      GenerateOptions.context,
      RotaryOptions.mode,
      RotaryOptions.factor, Option.threads,
    ],
    example: "minimind serve --model my-chat --port 8080"
  ) { invocation in
    let policy = try ServeAccess.policy(invocation, host: invocation[host])
    let loaded = try LoadedModel(invocation)
    let name = modelName(invocation[GenerateOptions.model])
    let type = invocation[GenerateOptions.type].rawValue
    let configuration = loaded.model.configuration
    let contextLength = loaded.model.contextLength
    if invocation[TemplateOptions.variables] != nil {
      _ = try TemplateOptions.template(invocation, of: loaded.directory)
    }
    let template = Result { try TemplateOptions.template(invocation, of: loaded.directory) }.mapError {
      error -> any Error in
      // Clients read it, too, and need not know where the model lies.
      let text = "\(error)"
      let place = loaded.directory
      return CommandError(text.hasPrefix(place) ? name + text.dropFirst(place.count) : text)
    }
    if case .failure(let reason) = template {
      try? Console.standardError.print("note: only /v1/completions and /v1/embeddings can be used. \(reason)")
    }
    let sight = try loaded.sight(invocation)
    let model = ModelServer.Model(
      name: name, tokenizer: loaded.tokenizer, template: template, contextLength: contextLength,
      hiddenSize: configuration.hiddenSize, endTokens: loaded.model.endTokens(loaded.tokenizer),
      defaults: loaded.defaults, shortensConversations: invocation[shorten] == .oldest,
      sight: sight, fetcher: try invocation[fetchImages] ? fetcher(for: sight, loaded) : nil,
      fingerprint: try fingerprint(loaded, type: type))
    let freeBytes = MachineMemory.availableBytes ?? MachineMemory.totalBytes
    let keptTokens =
      invocation[cacheTokens].map { max(contextLength, $0) }
      ?? loaded.model.cacheTokens(sequences: invocation[parallel], byteLimit: freeBytes / 2)
    let scheduler = try BatchScheduler(
      loaded.model, tokenizer: loaded.tokenizer, maximumSequences: invocation[parallel], queueLimit: invocation[queue],
      cacheTokens: keptTokens)
    let modelServer = ModelServer(
      model, scheduler, policy: policy, isNameStrict: invocation[strictModel], width: invocation[parallel])
    Interruption.watch()
    var limits = HTTPLimits()
    limits.patience = invocation[clientTimeout]
    let server = try HTTPServer(host: invocation[host], port: invocation[port], limits: limits) {
      modelServer.handle($0, $1)
    }
    try Console.standardOutput.print(
      "serving \(name) at http://\(server.address): \(formatCount(configuration.parameterCount)) parameters in \(type), "
        + "context \(contextLength), \(formatBytes(MachineMemory.residentBytes)) of memory. Ctrl-C stops.")
    while !Interruption.isRequested { usleep(50_000) }
    try? Console.standardError.print("stopping when the answers in progress are written; Ctrl-C again stops at once.")
    server.stopListening()
    modelServer.stop(waitingFor: 20)
    server.stop(waitingFor: 5)
  }
}()

private enum Shortening: String, CaseIterable, Sendable { case none, oldest }

/// The name of the model's folder, or of the folder around it, where that is the one of a run: `my-chat/model`.
private func modelName(_ path: String) -> String {
  let folder = URL(fileURLWithPath: path).standardizedFileURL
  let outer = folder.deletingLastPathComponent().lastPathComponent
  return folder.lastPathComponent == "model" && outer != "/" ? outer : folder.lastPathComponent
}

/// - Throws: `CommandError` for a model that reads text only, or without libcurl.
private func fetcher(for sight: Sight?, _ loaded: LoadedModel) throws -> PictureFetcher {
  guard sight != nil else {
    throw CommandError(
      "--fetch-images is for a model that sees, and \(loaded.directory) has no vision tower. Leave it out.")
  }
  do { return try PictureFetcher() } catch { throw CommandError("with --fetch-images a picture \(error)") }
}

/// Changes with the program, the weights, their type and the tokenizer: with all that changes answers.
private func fingerprint(_ loaded: LoadedModel, type: String) throws -> String {
  var text = "\(programVersion) \(type) \(loaded.tokenizer.contentHash)"
  var directories = [loaded.directory]
  if PEFTAdapter.isAdapter(loaded.directory) {
    directories.append(try PEFTAdapter(directory: loaded.directory).baseDirectory())
  }
  for directory in directories {
    // A file that holds the whole model is the only one.
    let names = try? FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    let files = names?.filter { $0.hasSuffix(".safetensors") || $0.hasSuffix("config.json") }.map {
      directory + "/" + $0
    }
    for file in files ?? [directory] {
      // In Hugging Face's cache the names are links.
      let url = URL(fileURLWithPath: file)
      let attributes = try FileManager.default.attributesOfItem(atPath: url.resolvingSymlinksInPath().path)
      let date = (attributes[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
      text += " \(url.lastPathComponent) \(attributes[.size] ?? 0) \(date)"
    }
  }
  return "fp_" + Array(text.utf8).withUnsafeBytes { SHA256.hexadecimalDigest($0) }.prefix(12)
}

/// Who may use a server: the options, and the policy that they make.
private enum ServeAccess {
  static let key = Option.optional(
    "api-key", "KEY", help: "What clients must send as their API key. Other users of this machine can see it here.")
  static let keyFile = Option.optional(
    "api-key-file", "FILE", help: "A file whose first line is the key. Or set MINIMIND_API_KEY.")
  static let allowOpen = Option.flag(
    "allow-open", help: "Lets every client that reaches --host use the model without a key.")
  static let allowedHost = Option.list(
    "allowed-host", "NAME", help: "A name by which clients call this machine, such as that of a proxy in front of it.")
  static let origin = Option.list(
    "cors-origin", "ORIGIN",
    help: "A web page elsewhere that may use the model, such as https://example.org; * for all.")

  static let options: [any OptionDescription] = [key, keyFile, allowOpen, allowedHost, origin]

  static func policy(_ invocation: Invocation, host: String) throws -> AccessPolicy {
    let key = try secret(invocation)
    if key == nil && !invocation[allowOpen] && !isLoopback(host) {
      throw UsageError(
        "--host \(host) lets every client that reaches this machine use the model. Give --api-key-file, or --allow-open "
          + "if that is meant.")
    }
    return AccessPolicy(key: key, hostNames: invocation[allowedHost] + [host], origins: invocation[origin])
  }

  private static func secret(_ invocation: Invocation) throws -> String? {
    if invocation[key] != nil && invocation[keyFile] != nil {
      throw UsageError("--api-key and --api-key-file are both given; one is enough.")
    }
    let text: String?
    if let path = invocation[keyFile] {
      let line = try MappedFile.contents(of: path).prefix { $0 != 0x0A && $0 != 0x0D }
      text = String(decoding: line, as: UTF8.self)
    } else {
      text = invocation[key] ?? ProcessInfo.processInfo.environment["MINIMIND_API_KEY"]
    }
    guard let text else { return nil }
    // HTTP clients do not send other characters in a header.
    guard !text.isEmpty, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw UsageError("the API key must have at least one character, and only visible ones of ASCII.")
    }
    return text
  }

  private static func isLoopback(_ host: String) -> Bool {
    let numbers = host.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
    return host == "localhost" || host == "::1" || numbers.count == 4 && numbers[0] == 127 && !numbers.contains(nil)
  }
}
