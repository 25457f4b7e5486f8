import Storage

/// The words around names in a text about a scene.
package struct SceneWords {
  let language: TaskLanguage

  init(_ language: TaskLanguage) { self.language = language }

  private func text(_ english: String, _ chinese: String) -> String { language == .english ? english : chinese }

  var colours: String { text("Colours", "颜色") }
  var shapes: String { text("Shapes", "形状") }
  var places: String { text("Places", "位置") }
  var placeOfEachColour: String { text("each colour place", "每个颜色位置") }
  var placeOfEachShape: String { text("each shape place", "每个形状位置") }
  var colourOfShape: String { text("shape colour", "形状颜色") }
  var shapeOfColour: String { text("colour shape", "颜色形状") }
  var placeOfShape: String { text("shape place", "形状位置") }
  var placeOfColour: String { text("colour place", "颜色位置") }
  var placeOfObject: String { text("object place", "物体位置") }
  var nothing: String { text("nothing", "没有") }
  var or: String { text(" or ", "还是") }
  var space: String { text(" ", "") }
  var colon: String { text(": ", "：") }
  var comma: String { text(", ", "，") }
  var stop: String { text(".", "。") }

  func sentence(_ head: String, _ lines: [String]) -> String {
    head + colon + lines.joined(separator: text("; ", "；")) + stop
  }

  func count(_ count: Int) -> String { text(" Count: ", "数量：") + String(count) }

  /// A text's words: English ones with the space before them, names, what lies between Chinese names, and marks.
  ///
  /// A tokenizer that learns from these has a token for each. From whole sentences it would make tokens of a Chinese name and
  /// the characters beside it, and a name would be another token in every sentence.
  package static func split(_ text: String) -> [String] {
    var text = text.replacing(" ", with: "\n ")
    for word in separate { text = text.replacing(word, with: "\n\(word)\n") }
    return text.split(separator: "\n").map(String.init)
  }

  private static let separate: [String] = {
    let names =
      SceneColour.allCases.map { $0.name(.chinese) } + SceneShape.allCases.map { $0.name(.chinese) }
      + SceneQuarter.allCases.map { $0.name(.chinese) } + SceneRelation.chineseSides
    return names + [":", ",", ";", ".", "?", "：", "，", "；", "。", "？"]
  }()
}
