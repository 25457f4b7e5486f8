/// A file of a web page. Its bytes are part of the program: nothing is read from the disk when it is served.
package struct PageFile: Sendable {
  package let bytes: [UInt8]
  package let contentType: String

  init(_ bytes: [UInt8], _ contentType: String) {
    self.bytes = bytes
    self.contentType = contentType
  }

  /// The one policy for all files: everything from this server, nothing inline, and no other page may frame this one.
  private static let contentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

  var response: HTTPResponse {
    var response = HTTPResponse(contentType: contentType, body: bytes)
    response.add("Content-Security-Policy", Self.contentSecurityPolicy)
    response.add("Referrer-Policy", "no-referrer")
    return response
  }
}

/// The page on which people chat with the model.
package enum Page {
  /// The file at the path of a request, `/` being the page itself; nil if there is none.
  @Sendable package static func file(_ path: String) -> PageFile? { files[path] }

  private static let files: [String: PageFile] = [
    "/": PageFile(PackageResources.index_html, "text/html; charset=utf-8"),
    "/base.css": PageFile(PackageResources.base_css, "text/css; charset=utf-8"),
    "/chat.css": PageFile(PackageResources.chat_css, "text/css; charset=utf-8"),
    "/icon.svg": PageFile(PackageResources.icon_svg, "image/svg+xml"),
    "/asking.js": PageFile(PackageResources.asking_js, script),
    "/chat.js": PageFile(PackageResources.chat_js, script),
    "/client.js": PageFile(PackageResources.client_js, script),
    "/composer.js": PageFile(PackageResources.composer_js, script),
    "/dom.js": PageFile(PackageResources.dom_js, script),
    "/entities.js": PageFile(PackageResources.entities_js, script),
    "/highlight.js": PageFile(PackageResources.highlight_js, script),
    "/inline.js": PageFile(PackageResources.inline_js, script),
    "/language.js": PageFile(PackageResources.language_js, script),
    "/markdown.js": PageFile(PackageResources.markdown_js, script),
    "/math.js": PageFile(PackageResources.math_js, script),
    "/math-symbols.js": PageFile(PackageResources.math_symbols_js, script),
    "/messages.js": PageFile(PackageResources.messages_js, script),
    "/picture.js": PageFile(PackageResources.picture_js, script),
    "/settings.js": PageFile(PackageResources.settings_js, script),
    "/shortcuts.js": PageFile(PackageResources.shortcuts_js, script),
    "/sidebar.js": PageFile(PackageResources.sidebar_js, script),
    "/store.js": PageFile(PackageResources.store_js, script),
    "/transfer.js": PageFile(PackageResources.transfer_js, script),
    "/tree.js": PageFile(PackageResources.tree_js, script),
    "/words.js": PageFile(PackageResources.words_js, script),
  ]
  private static let script = "text/javascript; charset=utf-8"
}
