import Compute
import Model

/// The matrices of an adapter inside a block that is laid out by its table: weights or gradients.
struct LoRAViews {
  /// One adapted linear layer at a site.
  struct Adapter {
    /// [outputs, rank]
    let b: MatrixView
    /// Its columns of the site's base product, and of the product with all A.
    let outputs: Range<Int>
    let hidden: Range<Int>
  }

  struct Site {
    /// [adapters · rank, inputs]
    let a: MatrixView
    let adapters: [Adapter]
  }

  /// By layer and `LoRASite.rawValue`; nil where nothing is adapted.
  private let sites: [[Site?]]

  subscript(layer: Int, site: LoRASite) -> Site? { sites[layer][site.rawValue] }

  init(_ base: UnsafeMutableRawPointer, _ type: ElementType, _ adapter: LoRAAdapter) {
    let (configuration, model, table) = (adapter.configuration, adapter.model, adapter.table)
    func matrix(_ key: String, rows: Int, columns: Int) -> MatrixView {
      MatrixView(base + table.offset(key) * type.byteCount, rows: rows, columns: columns, type: type)
    }
    func site(_ site: LoRASite, _ layer: Int) -> Site? {
      var adapters: [Adapter] = []
      var output = 0
      for target in site.targets {
        let outputs = output..<output + target.outputCount(model)
        output = outputs.upperBound
        guard configuration.targets.contains(target) else { continue }
        let first = adapters.count * configuration.rank
        adapters.append(
          Adapter(
            b: matrix(LoRAKey.b(target.weightKey(layer, model)), rows: outputs.count, columns: configuration.rank),
            outputs: outputs, hidden: first..<first + configuration.rank))
      }
      guard let first = site.targets.first(where: configuration.targets.contains) else { return nil }
      return Site(
        a: matrix(
          LoRAKey.a(first.weightKey(layer, model)), rows: adapters.count * configuration.rank,
          columns: site.inputCount(model)), adapters: adapters)
    }
    sites = (0..<model.layerCount).map { layer in LoRASite.allCases.map { site($0, layer) } }
  }
}
