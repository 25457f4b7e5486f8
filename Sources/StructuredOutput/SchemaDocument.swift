import Foundation
import Storage

/// A schema with the places in it that a `$ref` can name: by pointer, by anchor, or by the `$id` of a schema inside.
struct SchemaDocument {
  let root: JSON
  /// The pointer of each schema that has an `$id`, with that as an absolute URI where it can be one; the root first.
  private var resources: [(pointer: String, uri: String)] = []
  /// The pointers of anchors: those of one name in different resources differ.
  private var anchors: [Anchor: String] = [:]
  private var dynamicAnchors: [String: Int] = [:]

  private struct Anchor: Hashable {
    let resource: String
    let name: String
  }

  /// For the pointers of objects that were looked into, the place of each member.
  private var memberIndices: [String: [String: Int]] = [:]

  private static let maximumResources = 100
  /// Members that hold values, not schemas.
  private static let values: Set = ["const", "enum", "default", "examples"]

  init(_ root: JSON) {
    self.root = root
    resources = [("#", root["$id"]?.stringValue ?? "")]
    visit(root, "#", resource: 0)
  }

  private mutating func visit(_ value: JSON, _ pointer: String, resource: Int) {
    switch value {
    case .array(let values):
      for (index, value) in values.enumerated() where value.isContainer {
        visit(value, "\(pointer)/\(index)", resource: resource)
      }
    case .object(let members):
      var resource = resource
      if pointer != "#", let id = value["$id"]?.stringValue, !id.hasPrefix("#") {
        resources.append((pointer, Self.resolved(id, against: resources[resource].uri)))
        resource = resources.count - 1
      }
      for key in ["$anchor", "$dynamicAnchor"] {
        guard let name = value[key]?.stringValue else { continue }
        anchors[Anchor(resource: resources[resource].pointer, name: name)] = pointer
        if key == "$dynamicAnchor" { dynamicAnchors[name, default: 0] += 1 }
      }
      for member in members where member.value.isContainer && !Self.values.contains(member.key) {
        visit(member.value, pointer + "/" + Self.escaped(member.key), resource: resource)
      }
    default: break
    }
  }

  /// A key as a part of a JSON pointer (RFC 6901).
  static func escaped(_ key: String) -> String {
    key.utf8.contains { $0 == UInt8(ascii: "~") || $0 == UInt8(ascii: "/") }
      ? key.replacing("~", with: "~0").replacing("/", with: "~1") : key
  }

  private static func resolved(_ reference: String, against base: String) -> String {
    guard let url = URL(string: reference, relativeTo: URL(string: base)) else { return reference }
    return url.absoluteString
  }

  /// The pointer of what a `$ref` names in a schema at `pointer`; nil where that is outside of the document.
  func target(of reference: String, at pointer: String) -> String? {
    // Each reference looks through all of them.
    guard resources.count <= Self.maximumResources else { return nil }
    let own = resources.last { pointer == $0.pointer || pointer.hasPrefix($0.pointer + "/") || $0.pointer == "#" }!
    let parts = reference.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
    var resource = own
    if !parts[0].isEmpty {
      let uri = Self.resolved(String(parts[0]), against: own.uri)
      guard let found = resources.first(where: { Self.withoutEmptyFragment($0.uri) == uri }) else { return nil }
      resource = found
    }
    let fragment = parts.count == 2 ? parts[1].removingPercentEncoding ?? String(parts[1]) : ""
    if fragment.isEmpty { return resource.pointer }
    return fragment.hasPrefix("/")
      ? resource.pointer + fragment : anchors[Anchor(resource: resource.pointer, name: fragment)]
  }

  private static func withoutEmptyFragment(_ uri: String) -> String {
    uri.hasSuffix("#") ? String(uri.dropLast()) : uri
  }

  /// Whether a `$dynamicRef` can lead to one place only, whatever schema refers to the one around it.
  func isPlain(dynamicReference reference: String) -> Bool {
    guard let fragment = reference.split(separator: "#", omittingEmptySubsequences: false).last else { return false }
    return dynamicAnchors[String(fragment), default: 0] <= 1
  }

  /// The value at a pointer that begins with "#".
  mutating func value(at pointer: String) -> JSON? {
    var value = root
    var path = "#"
    for part in pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
      let key = String(part).replacing("~1", with: "/").replacing("~0", with: "~")
      switch value {
      case .array(let values):
        guard let index = Int(key), values.indices.contains(index) else { return nil }
        value = values[index]
      case .object(let members):
        // Definitions are often many, and each of them is looked for.
        if memberIndices[path] == nil {
          memberIndices[path] = Dictionary(members.indices.map { (members[$0].key, $0) }) { first, _ in first }
        }
        guard let index = memberIndices[path]![key] else { return nil }
        value = members[index].value
      default: return nil
      }
      path += "/" + part
    }
    return value
  }
}

extension JSON {
  fileprivate var isContainer: Bool {
    switch self {
    case .array, .object: true
    default: false
    }
  }
}
