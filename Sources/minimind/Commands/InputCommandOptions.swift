import Corpus
import Foundation

/// What the commands that read text have in common.
enum InputCommandOptions {
  /// For the help of `--input`.
  static let files =
    "Files of JSONL, JSON, CSV, Parquet or plain text, WebDataset archives, or directories of them. \(suffixes)."
  private static let suffixes =
    "Of a directory those files are read that end in " + InputFormat.suffixes.map { "." + $0 }.joined(separator: ", ")
    + ", also with .gz or .zst after it"

  static let encoding = Option.text(
    "encoding", "NAME", default: "auto",
    help: "What files are in that are not UTF-8, as iconv calls it: gb18030, utf-16, shift_jis, big5, euc-kr, "
      + "windows-1252 …; auto judges each file by its beginning.")
  static let textKey = Option.optional(
    "text-key", "NAME", help: "The field or column that holds the text, where it is not text or content.")
  static let wholeFiles = Option.flag(
    "whole-files", help: "A plain text file is one document, rather than each of its lines. Markdown always is.")

  static func read(_ invocation: Invocation, wholeFiles: Bool = false) throws -> InputOptions {
    let name = invocation[encoding]
    guard name.lowercased() != "auto" else { return InputOptions(wholeFiles: wholeFiles) }
    guard let encoding = TextEncoding(name) else {
      throw UsageError("--encoding \(name): this system's C library does not know it. iconv -l lists what it knows.")
    }
    return InputOptions(wholeFiles: wholeFiles, encoding: encoding)
  }
}

/// Lines of a summary that say what of the input was read in another way than expected, or not at all.
func inputNotes(_ files: [InputFile], _ passedOver: [PassedOver]) -> [(name: String, value: String)] {
  func shown(_ paths: [String]) -> String {
    let names = paths.prefix(6).map { printable(($0 as NSString).lastPathComponent) }
    return names.joined(separator: ", ") + (paths.count > 6 ? " and \(paths.count - 6) more" : "")
  }
  var notes: [(name: String, value: String)] = []
  let others = Dictionary(grouping: files.filter { !$0.encoding.isUTF8 }) { $0.encoding.description }
  for (encoding, files) in others.sorted(by: { $0.key < $1.key }) {
    notes.append(("encoding", "\(encoding): \(shown(files.map(\.path)))"))
  }
  for reason in PassedOver.Reason.allCases {
    let paths = passedOver.filter { $0.reason == reason }.map(\.path)
    if !paths.isEmpty { notes.append(("passed over", "\(shown(paths)) (\(reason.rawValue))")) }
  }
  return notes
}
