import Foundation

#if canImport(FoundationXML)
  import FoundationXML
#endif
import Testing
import Training

@Suite("Loss plot")
struct LossPlotTests {
  /// Element names with their attributes, in order; fails on text that is not XML.
  private final class Elements: NSObject, XMLParserDelegate {
    var found: [(name: String, attributes: [String: String])] = []
    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) { found.append((name, attributes)) }
  }

  private func parse(_ history: LossHistory, title: String = "a < b & c", totalSteps: Int = 100) -> Elements? {
    let svg = LossPlot(title: title, history: history, totalSteps: totalSteps).svg()
    let parser = XMLParser(data: Data(svg.utf8))
    let elements = Elements()
    parser.delegate = elements
    return parser.parse() ? elements : nil
  }

  private func points(_ elements: Elements) -> [[(x: Double, y: Double)]] {
    elements.found.filter { $0.name == "polyline" }.map { element in
      (element.attributes["points"] ?? "").split(separator: " ").map { pair in
        let numbers = pair.split(separator: ",").compactMap { Double($0) }
        return (numbers[0], numbers[1])
      }
    }
  }

  @Test("is XML that needs nothing from outside, with one line for each loss and a circle for each evaluation")
  func elements() throws {
    var history = LossHistory()
    history.training = (1...100).map { ($0, 5 / Double($0)) }
    history.heldOut = [(0, 5.2), (50, 1), (100, 0.4)]
    let elements = try #require(parse(history))
    let lines = points(elements)
    #expect(lines.map(\.count) == [100, 100, 3])
    #expect(elements.found.filter { $0.name == "circle" }.count == 3)
    #expect(elements.found.allSatisfy { $0.attributes["href"] == nil })
    // Steps go right, falling losses down, all inside the picture.
    for line in lines {
      #expect(zip(line, line.dropFirst()).allSatisfy { $0.x < $1.x && $0.y <= $1.y })
      #expect(line.allSatisfy { (64...836).contains($0.x) && (56...428).contains($0.y) })
    }
  }

  @Test("smoothing leaves a straight line as it is to both ends, and does not end in the last step's noise")
  func smoothed() {
    let straight = (0..<400).map { (step: $0 + 1, loss: 5 - Double($0) / 100) }
    for (point, (step, loss)) in zip(LossPlot.smoothed(straight), straight) {
      #expect(point.x == Double(step) && abs(point.y - loss) < 1e-9)
    }
    // An outlier at the last of 400 steps: of 21 losses it weighs 1/21 in their mean, and by the slope 10²/770 more.
    var jump = straight
    jump[399].loss += 1
    let moved = zip(LossPlot.smoothed(jump), LossPlot.smoothed(straight)).map { $0.y - $1.y }
    #expect(abs(moved[399] - (1.0 / 21 + 100.0 / 770)) < 1e-9)
    #expect(moved[..<379].allSatisfy { abs($0) < 1e-9 })
    for count in 0...3 { #expect(LossPlot.smoothed(Array(straight[..<count])).count == count) }
  }

  @Test("a long run keeps its last point and stays small")
  func longRun() throws {
    var history = LossHistory()
    history.training = (1...200_000).map { ($0, 3 + sin(Double($0))) }
    let svg = LossPlot(title: "long", history: history, totalSteps: 200_000).svg()
    #expect(svg.utf8.count < 60_000)
    let elements = try #require(parse(history, totalSteps: 200_000))
    #expect(points(elements)[0].last?.x == 836)
  }

  @Test("no losses, one loss, equal losses and losses that are not finite draw without harm")
  func degenerate() throws {
    var history = LossHistory()
    #expect(parse(history, totalSteps: 0) != nil)
    history.training = [(1, 2)]
    #expect(parse(history, totalSteps: 1) != nil)
    history.training = [(1, 2), (2, 2), (3, .nan), (4, .infinity)]
    let elements = try #require(parse(history, totalSteps: 4))
    #expect(points(elements)[0].count == 2)
  }
}
