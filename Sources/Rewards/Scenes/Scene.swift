import Storage
import Vision

/// Coloured shapes on a plain ground, each near the middle of a square of a grid of four by four.
///
/// On a grid a tower learns shapes from the patches of a square; anywhere in the picture, each shape would be another one in
/// every place between two patches, and takes it many times as long.
package struct Scene: Equatable, Sendable {
  package var objects: [SceneObject]
  /// The light of the ground, 0 to 255.
  package var ground: Double

  /// Whether the scene is one of those that training never sees, in any set: a quarter of all arrangements of colours and
  /// shapes on a grid of four by four.
  package var isHeldOut: Bool { objects.reduce(0) { $0 + $1.share } % 4 == 0 }

  /// A scene of `count` objects, 1 to 4, of which the first is given and is asked about. No two have the same colour or the same
  /// shape.
  package init(
    count: Int, colour: SceneColour, shape: SceneShape, quarter: SceneQuarter, isHeldOut: Bool,
    _ random: inout SplitMix64
  ) {
    let others = (SceneColour.allCases.filter { $0 != colour }, SceneShape.allCases.filter { $0 != shape })
    repeat {
      ground = Self.ground(&random)
      objects = [SceneObject(colour, shape, inSquare: quarter.square(random.next(below: 4)), &random)]
      let (colours, shapes) = (others.0.shuffled(using: &random), others.1.shuffled(using: &random))
      for index in 1..<count {
        objects.append(SceneObject(colours[index - 1], shapes[index - 1], inSquare: random.next(below: 16), &random))
      }
    } while self.isHeldOut != isHeldOut || hasOverlap
  }

  /// A scene for training with any objects in `count` squares, 1 to 16.
  package init(filledSquares count: Int, _ random: inout SplitMix64) {
    repeat {
      ground = Self.ground(&random)
      objects = []
      for square in Array(0..<16).shuffled(using: &random).prefix(count) {
        objects.append(
          SceneObject(random.pick(SceneColour.allCases), random.pick(SceneShape.allCases), inSquare: square, &random))
      }
    } while isHeldOut
  }

  /// A scene for training of `count` objects, 1 to 5, no two of which have the same colour or the same shape.
  package init(distinct count: Int, _ random: inout SplitMix64) {
    repeat {
      ground = Self.ground(&random)
      let squares = Array(0..<16).shuffled(using: &random)
      let colours = SceneColour.allCases.shuffled(using: &random)
      let shapes = SceneShape.allCases.shuffled(using: &random)
      objects = []
      for index in 0..<count {
        objects.append(SceneObject(colours[index], shapes[index], inSquare: squares[index], &random))
      }
    } while isHeldOut
  }

  /// Dark or light.
  private static func ground(_ random: inout SplitMix64) -> Double {
    random.next(below: 2) == 0 ? 60 * random.nextUniform() : 255 - 50 * random.nextUniform()
  }

  private var hasOverlap: Bool { Set(objects.map(\.square)).count < objects.count }

  /// Draws the scene, each pixel from four by four places in it. Objects differ a little in their light, and pixels have noise.
  ///
  /// - Parameter side: pixels of the picture's width and height.
  package func picture(side: Int, _ random: inout SplitMix64) -> Picture {
    var light = [Double](repeating: ground, count: 3 * side * side)
    for object in objects {
      let colour = object.colour.light.map { $0 + 30 * (random.nextUniform() - 0.5) }
      func pixels(_ center: Double) -> Range<Int> {
        Int((center - object.radius) * Double(side))..<min(side, Int((center + object.radius) * Double(side)) + 1)
      }
      for row in pixels(object.y) {
        for column in pixels(object.x) {
          var hits = 0
          for place in 0..<16 {
            let x = (Double(column) + (Double(place % 4) + 0.5) / 4) / Double(side) - object.x
            let y = (Double(row) + (Double(place / 4) + 0.5) / 4) / Double(side) - object.y
            if object.shape.contains(x / object.radius, y / object.radius) { hits += 1 }
          }
          let share = Double(hits) / 16
          for channel in 0..<3 {
            let at = 3 * (row * side + column) + channel
            light[at] += share * (colour[channel] - light[at])
          }
        }
      }
    }
    return Picture(
      width: side, height: side,
      pixels: light.map { UInt8(min(max($0 + 6 * (random.nextUniform() - 0.5), 0), 255)) })
  }
}
