import Compute
import Foundation
import Machine
import Model
import ModelFiles
import PJRT
import Processes
import Storage
import Tokenization

/// `minimind info`: what the machine can do, or what a model consists of.
let infoCommand: Command = {
  let model = Option.optionalPositional(
    "MODEL",
    help:
      "A run, a checkpoint, a model directory, a config.json, or \(ModelConfiguration.names.joined(separator: ", ")). Without it: the machine."
  )
  return Command(
    "info", summary: "tells what the machine can do, or what a model consists of",
    options: [model, Option.json, Option.threads], example: "minimind info my-run"
  ) { invocation in
    if let name = invocation[model] {
      let facts: ModelFacts
      do { facts = try ModelFacts(name, threads: threadCount(invocation)) } catch {
        // What can be done with the rest of its files.
        guard FileManager.default.fileExists(atPath: name) else { throw error }
        let uses = ModelUses(directory: (try? resolveModelDirectory(name)) ?? name)
        if invocation[Option.json] { try printJSON(uses) } else { try Console.standardOutput.write(uses.text) }
        throw error
      }
      if invocation[Option.json] { try printJSON(facts) } else { try Console.standardOutput.write(facts.text) }
    } else {
      let facts = MachineFacts(threads: threadCount(invocation))
      if invocation[Option.json] { try printJSON(facts) } else { try Console.standardOutput.write(facts.text) }
    }
  }
}()

/// What `info` says of the machine.
private struct MachineFacts: Encodable {
  let version = programVersion
  let processor = Processor.name
  let cores = Processor.coreCount
  let threads: Int
  let memoryBytes = MachineMemory.totalBytes
  let availableBytes = MachineMemory.availableBytes
  let instructionSets = Processor.instructionSets
  let usedInstructions = kernelInstructions
  let products = MatrixProducts.kernelName
  let processes = MPIProcessGroup.libraryVersion
  /// For `--device gpu`: what a plugin finds, or why there is none.
  let device = MachineFacts.device
  /// Model formats by the words of `convert --format`.
  let readFormats = ModelFormats.all.filter(\.isRead).map(\.name)
  let writtenFormats = ModelFormats.written.map(\.name)

  enum CodingKeys: String, CodingKey {
    case version, processor, cores, threads, products, processes, device
    case readFormats = "read_formats"
    case writtenFormats = "written_formats"
    case memoryBytes = "memory_bytes"
    case availableBytes = "available_bytes"
    case instructionSets = "instruction_sets"
    case usedInstructions = "used_instructions"
  }

  init(threads: Int) { self.threads = threads }

  private static var device: String {
    do { return try PJRTRunner(plugin: try PJRTPlugin.find(), cache: nil).description } catch PJRTError.noPlugin {
      return "no GPU: there is no plugin of PJRT on this machine"
    } catch {
      return "no GPU: \(error)"
    }
  }

  var text: String {
    renderPairs(
      [
        (name: "minimind", value: version),
        (name: "processor", value: processor),
        (name: "cores", value: "\(cores), \(threads) thread\(threads == 1 ? "" : "s") used"),
        (
          name: "memory",
          value: formatBytes(memoryBytes) + (availableBytes.map { ", \(formatBytes($0)) available" } ?? "")
        ),
        (
          name: "instructions",
          value: instructionSets.isEmpty ? "the system does not say" : instructionSets.joined(separator: ", ")
        ),
        (name: "built for", value: usedInstructions),
        (name: "products", value: products),
        (
          name: "formats",
          value: "\(readFormats.joined(separator: ", ")) read; \(writtenFormats.joined(separator: ", ")) written"
        ),
        (name: "processes", value: processes.map { "\($0), by mpirun" } ?? "one: there is no Open MPI on this machine"),
        (
          name: "device",
          value: device
            + (device.hasPrefix("no GPU") ? "" : ". On a GPU this program has not been run by its authors: docs/gpu.md")
        ),
      ], indent: "")
  }
}
