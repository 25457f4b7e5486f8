import Foundation
import Storage
import Tokenization
import Vision

/// What pictures become in prepared data.
package struct PictureSettings: Sendable {
  /// What is done with a picture; it makes each one a square of `side` pixels.
  package var processor: PictureProcessor
  /// Pixels of a prepared picture's width and height.
  package var side: Int
  /// The tokens that stand for a picture, one for each row that it fills.
  package var placeholder: [Int32]
  /// Where files are looked for; nil for the directory of the file that names them.
  package var directory: String?
  /// What is kept of them in place of their pixels; nil for those.
  package var features: PictureFeatures?

  package init(processor: PictureProcessor, side: Int, placeholder: [Int32], directory: String? = nil) {
    self.processor = processor
    self.side = side
    self.placeholder = placeholder
    self.directory = directory
  }

  /// By the names of flags, for the manifest.
  var texts: [String: String] { directory.map { ["images": $0] } ?? [:] }
}

/// Where a picture of a row comes from.
enum PictureSource: Equatable {
  /// A file below the directory of pictures.
  case file(String)
  /// A `data:` URL.
  case inline(String)
}

/// Reads the pictures of rows, prepares them and puts them into a store. One per thread.
final class PictureReader {
  private let settings: PictureSettings
  private let store: PictureStore
  private let decoder = PictureDecoder()
  private var directories: [String: PictureDirectory] = [:]

  init(_ settings: PictureSettings, _ store: PictureStore) {
    self.settings = settings
    self.store = store
  }

  /// - Parameter file: the file of the row.
  /// - Throws: `RowProblem` for a picture that cannot be read.
  func add(_ source: PictureSource, file: String) throws(RowProblem) -> PictureStore.Entry {
    let name: String
    switch source {
    case .file(let path): name = path
    case .inline: name = "data: URL"
    }
    let planes: [UInt8]
    do throws(PictureError) {
      let bytes: [UInt8]
      switch source {
      case .file(let path): bytes = try directory(of: file).content(path, limit: decoder.byteLimit)
      case .inline(let url): bytes = try DataURL.bytes(url, limit: decoder.byteLimit)
      }
      let picture = try settings.processor.sized(try decoder.picture(bytes))
      guard picture.width == settings.side, picture.height == settings.side else {
        throw .tooLarge(
          "becomes one of \(picture.width) × \(picture.height) pixels, not of \(settings.side) × \(settings.side).")
      }
      planes = picture.planes
    } catch {
      throw RowProblem("the picture \"\(shortName(name))\" \(error)")
    }
    return try store.add(planes)
  }

  private func shortName(_ name: String) -> String {
    String(name.prefix(100)).replacingOccurrences(of: "\"", with: "'")
  }

  private func directory(of file: String) throws(PictureError) -> PictureDirectory {
    let path = settings.directory ?? parentDirectory(of: file)
    if let known = directories[path] { return known }
    guard let found = PictureDirectory(path) else { throw .missing }
    directories[path] = found
    return found
  }
}

extension RowConversation {
  /// Puts a `PictureMark` where a user's message has `<image>`, and takes the row's pictures for them in their order.
  ///
  /// - Parameters:
  ///   - beside: those that the row has beside its messages.
  ///   - comeFirst: whether they stand before the first question where there is no placeholder.
  /// - Throws: `RowProblem` where the numbers differ.
  mutating func placePictures(_ beside: [PictureSource], comeFirst: Bool) throws(RowProblem) {
    guard inlinePictures.isEmpty || beside.isEmpty else {
      throw RowProblem("there are pictures in \"image\" and in the messages, so which comes first is unknown")
    }
    let sources = inlinePictures.isEmpty ? beside : inlinePictures.map(PictureSource.inline)
    guard sources.count <= PictureMark.limit else {
      throw RowProblem("there are \(sources.count) pictures in it, more than \(PictureMark.limit)")
    }
    let questions = messages.indices.filter { messages[$0].role == .user }
    if comeFirst, !sources.isEmpty, let first = questions.first,
      !questions.contains(where: { messages[$0].content.contains(PictureMark.placeholder) })
    {
      messages[first].content =
        String(repeating: PictureMark.placeholder, count: sources.count) + "\n" + messages[first].content
    }
    var count = 0
    for index in messages.indices {
      if messages[index].role == .user {
        (messages[index].content, count) = PictureMark.placed(messages[index].content, from: count)
      } else {
        messages[index].content = PictureMark.cleaned(messages[index].content)
      }
    }
    guard count <= sources.count else {
      throw RowProblem("there is a placeholder <image> without a picture (\(count) of \(sources.count))")
    }
    guard count == sources.count else {
      throw RowProblem("there is a picture without a placeholder <image> (\(sources.count) for \(count))")
    }
    pictures = sources
  }
}
