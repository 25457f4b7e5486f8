/// The page of `minimind watch`, embedded like the chat's.
package enum WatchPage {
  /// The file at the path of a request; nil if there is none.
  @Sendable package static func file(_ path: String) -> PageFile? {
    switch path {
    case "/": PageFile(PackageResources.watch_html, "text/html; charset=utf-8")
    case "/watch.css": PageFile(PackageResources.watch_css, "text/css; charset=utf-8")
    case "/watch.js": PageFile(PackageResources.watch_js, "text/javascript; charset=utf-8")
    case "/chart.js": PageFile(PackageResources.chart_js, "text/javascript; charset=utf-8")
    case "/watch-words.js": PageFile(PackageResources.watch_words_js, "text/javascript; charset=utf-8")
    case "/base.css", "/icon.svg", "/language.js", "/store.js", "/tree.js": Page.file(path)
    default: nil
    }
  }
}
