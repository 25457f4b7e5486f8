import Foundation
import Storage

/// A file or directory that preparation leaves out of a directory, and why.
package struct PassedOver: Sendable, Equatable {
  package enum Reason: String, Sendable, CaseIterable {
    case description = "descriptions of data"
    case own = "made by this program"
    case hidden = "hidden"
    case format = "of other formats"
    case special = "no files"
  }

  package let path: String
  package let reason: Reason
}

/// The data files of a directory and of those in it, in the order of their names, and what is left out.
struct InputDirectory {
  private(set) var files: [String] = []
  private(set) var passedOver: [PassedOver] = []
  private let root: String

  /// - Throws: `FileError` or `CorpusError` for what cannot be read, or has a name that is not UTF-8: nothing is left out silently.
  init(_ path: String) throws {
    root = path
    var status = stat()
    guard stat(path, &status) == 0 else { throw FileError("cannot open", path, errno: errno) }
    try scan("", ancestors: [Identity(status)])
    files.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    files = files.map { path + "/" + $0 }
    passedOver.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
  }

  private struct Identity: Hashable {
    let device: UInt64
    let node: UInt64
    init(_ status: stat) { (device, node) = (UInt64(status.st_dev), UInt64(status.st_ino)) }
  }

  private mutating func scan(_ directory: String, ancestors: Set<Identity>) throws {
    let path = directory.isEmpty ? root : root + "/" + directory
    let names = try Self.names(in: path)
    let isRun = names.contains("training.json")
    let isPrepared = names.contains("manifest.json") && names.contains { $0.hasSuffix(TokenShard.fileSuffix) }
    let isModel =
      names.contains("adapter_config.json")
      || names.contains("config.json") && names.contains { $0.hasSuffix(".safetensors") || $0.hasSuffix(".gguf") }
    if !directory.isEmpty, isRun || isPrepared || isModel || directory.contains(".partial-") {
      passedOver.append(PassedOver(path: path, reason: .own))
      return
    }
    for name in names.sorted() {
      let relative = directory.isEmpty ? name : directory + "/" + name
      func passOver(_ reason: PassedOver.Reason) {
        passedOver.append(PassedOver(path: path + "/" + name, reason: reason))
      }
      guard !name.hasPrefix(".") else {
        passOver(.hidden)
        continue
      }
      var status = stat()
      guard stat(path + "/" + name, &status) == 0 else {
        let code = errno
        // Something that is no data may be broken.
        guard Self.isData(name) || code != ENOENT && code != ELOOP else {
          passOver(.special)
          continue
        }
        guard code == ENOENT else { throw FileError("cannot open", path + "/" + name, errno: code) }
        throw CorpusError("\(path)/\(name) is a link to a file that is not there. Fetch the file, or remove the link.")
      }
      if status.st_mode & S_IFMT == S_IFDIR {
        let identity = Identity(status)
        guard !ancestors.contains(identity) else {
          passOver(.special)
          continue
        }
        try scan(relative, ancestors: ancestors.union([identity]))
      } else if Self.isOwn(name, isRun: isRun, isPrepared: isPrepared) {
        passOver(.own)
      } else if Self.isDescription(name) {
        passOver(.description)
      } else if !Self.isData(name) {
        let suffix = (name as NSString).pathExtension.lowercased()
        if UnreadableKind.columnarSuffixes.contains(suffix) {
          throw UnreadableKind.columnar(path + "/" + name, isStream: suffix == "arrow")
        }
        passOver(.format)
      } else if status.st_mode & S_IFMT != S_IFREG {
        passOver(.special)
      } else {
        files.append(relative)
      }
    }
  }

  private static func isData(_ name: String) -> Bool {
    let last = (name as NSString).pathExtension.lowercased()
    // The error of a file that is compressed in another way says how to decompress it.
    let inner =
      ["xz", "bz2"].contains(last) ? ((name as NSString).deletingPathExtension as NSString).pathExtension : ""
    return InputFormat.suffixes.contains(InputFile.suffix(of: name))
      || InputFormat.suffixes.contains(inner.lowercased())
  }

  /// Files that this program and others write beside models and tokenizers.
  private static func isOwn(_ name: String, isRun: Bool, isPrepared: Bool) -> Bool {
    switch name {
    case "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json", "generation_config.json",
      "adapter_config.json", "model.safetensors.index.json", "training.json":
      true
    case "manifest.json": isPrepared
    case "metrics.jsonl", "samples.txt": isRun
    default: false
    }
  }

  /// Files that describe data and are none: of clones from a hub, and of what `datasets` saves.
  private static func isDescription(_ name: String) -> Bool {
    let stem = name.prefix { $0 != "." }.uppercased()
    return ["README", "LICENSE", "LICENCE", "COPYING", "NOTICE", "CITATION", "CHANGELOG"].contains(stem)
      || ["dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "croissant.json"].contains(name)
  }

  private static func names(in path: String) throws -> [String] {
    guard let directory = opendir(path) else { throw FileError("cannot read the directory", path, errno: errno) }
    defer { closedir(directory) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = readdir(directory) else {
        guard errno == 0 else { throw FileError("cannot read the directory", path, errno: errno) }
        return names
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
        tuple.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: tuple.pointee)) { pointer in
          (String(validatingCString: pointer), String(cString: pointer))
        }
      }
      guard let valid = name.0 else {
        throw CorpusError(
          "\(path) holds a file whose name is not UTF-8: \(name.1). Rename it, for example with convmv.")
      }
      if valid != "." && valid != ".." { names.append(valid) }
    }
  }
}
