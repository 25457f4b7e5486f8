import Foundation
import Model
import Programs

/// The cosines and sines of positions, computed in Double: what a program reads its angles from.
struct RotaryAngles {
  /// [rows, headSize/2] each, times the amplitude.
  let cosines, sines: HostTensor

  /// Of each row's position.
  private init(_ rows: [(position: Int, frequencies: [Double])], amplitude: Double) {
    func table(_ function: (Double) -> Double) -> HostTensor {
      HostTensor(
        rows.flatMap { row in row.frequencies.map { Float(amplitude * function(Double(row.position) * $0)) } },
        [rows.count, rows[0].frequencies.count])
    }
    cosines = table(cos)
    sines = table(sin)
  }

  /// Row p is position p, where angles do not depend on a document's length.
  init(_ settings: RotarySettings, positions: Int) {
    let frequencies = settings.frequencies(length: 1)
    self.init((0..<positions).map { ($0, frequencies) }, amplitude: settings.amplitude)
  }

  /// Row i is the position of a batch's row i, by its document's length.
  init(_ settings: RotarySettings, _ batch: Batch, rows: Int) {
    var result: [(position: Int, frequencies: [Double])] = []
    for document in 0..<batch.documentCount {
      let length = batch.rows(ofDocument: document).count
      let frequencies = settings.frequencies(length: length)
      result += (0..<length).map { ($0, frequencies) }
    }
    let padding = (position: 0, frequencies: settings.frequencies(length: 1))
    self.init(
      result + [(position: Int, frequencies: [Double])](repeating: padding, count: rows - result.count),
      amplitude: settings.amplitude)
  }
}
