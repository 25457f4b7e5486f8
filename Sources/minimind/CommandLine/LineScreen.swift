/// Where a prompt and a text stand on a terminal, and what to write so that it shows them.
///
/// A line is drawn as a whole for each key. The terminal itself knows how far a text reaches; what is computed here are
/// only the rows, so that a character of unexpected width disturbs nothing but the end of a row.
package struct LineScreen {
  package struct Place: Equatable {
    package var row = 0
    package var column = 0
    package init(row: Int = 0, column: Int = 0) {
      self.row = row
      self.column = column
    }
  }

  /// Columns of the terminal.
  package private(set) var width: Int
  /// The cursor, seen from where the prompt begins.
  package private(set) var cursor = Place()
  private var prompt = ""
  private var before = ""

  package init(width: Int) { self.width = max(1, width) }

  /// The place after `text`, if it begins in column 0. A character that has no room in a row stands in the next one.
  package static func place(after text: String, width: Int) -> Place {
    var place = Place()
    for character in text {
      if character.isNewline {
        place = Place(row: place.row + 1)
        continue
      }
      let columns = min(displayWidth(String(character)), width)
      if place.column + columns > width { place = Place(row: place.row + 1) }
      place.column += columns
    }
    return place
  }

  /// What shows a text after a prompt, the cursor after `before`, in place of what was drawn last.
  package mutating func draw(prompt: String, style: (String) -> String = { $0 }, before: String, after: String)
    -> String
  {
    self.prompt = prompt
    self.before = before
    let whole = before + after
    var output = goBack + style(prompt) + Self.lines(whole)
    var end = Self.place(after: prompt + whole, width: width)
    if end.column == width {
      // The terminal waits at the edge until there is more; this makes it go on.
      output += " \r"
      end = Place(row: end.row + 1)
    }
    cursor = end
    if !after.isEmpty {
      output += Self.up(end.row) + "\r" + style(prompt) + Self.lines(before)
      cursor = Self.place(after: prompt + before, width: width)
      if cursor.column == width {
        output += "\n"
        cursor = Place(row: cursor.row + 1)
      }
    }
    return output
  }

  /// Takes into account that `text` was written after what was drawn, which makes it `whole`.
  ///
  /// - Returns: Whether that is enough, since it stays in its row.
  package mutating func extend(with text: String, to whole: String) -> Bool {
    let end = Self.place(after: prompt + whole, width: width)
    guard end.row == cursor.row, end.column < width else { return false }
    before = whole
    cursor = end
    return true
  }

  /// What leads to the beginning of the prompt and clears the screen from there.
  package var goBack: String { Self.up(cursor.row) + "\r\u{1B}[J" }

  private static func up(_ rows: Int) -> String { rows > 0 ? "\u{1B}[\(rows)A" : "" }

  private static func lines(_ text: String) -> String {
    text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).joined(separator: "\n")
  }

  /// What was drawn is gone, or stays where it is.
  package mutating func forget() { cursor = Place() }

  /// The window has another width. Some terminals wrap the lines again, others leave them; until it is known which, nothing
  /// above the line may be drawn over.
  package mutating func resize(to newWidth: Int) {
    let wrapped = Self.place(after: prompt + before, width: max(1, newWidth))
    width = max(1, newWidth)
    unwrapped = cursor
    cursor.row = min(cursor.row, wrapped.row)
  }
  private var unwrapped = Place()

  /// The terminal has said in which column its cursor is after `resize`, counted from 1.
  package mutating func found(column: Int) {
    let wrapped = Self.place(after: prompt + before, width: width)
    if column - 1 == wrapped.column, wrapped.column != unwrapped.column {
      cursor.row = wrapped.row
    } else if column - 1 == unwrapped.column, wrapped.column != unwrapped.column {
      cursor.row = unwrapped.row
    }
  }
}
