import Foundation
import Generation
import Machine
import Vision

extension ModelServer {
  /// Fetches and encodes the pictures of a request, away from the thread that receives requests, and then answers it.
  ///
  /// - Parameter answer: gets the call with the rows of its pictures.
  func withPictures(
    of call: GenerationCall, _ sight: Sight, _ reply: Reply,
    answer: @escaping @Sendable (GenerationCall) throws(APIError) -> Void
  ) {
    @Sendable func look() {
      do throws(APIError) {
        var call = call
        let rows = try self.rows(call.pictures, sight, reply)
        call.request.embedded = Sight.spans(
          call.pictureTokens, rows: rows, rowsPerPicture: sight.placeholder.count)
        try answer(call)
      } catch {
        reply.fail(call.renamed(error))
      }
    }
    // Slow servers elsewhere do not hold up requests that bring their pictures.
    if call.pictures.allSatisfy(\.isInline) {
      pictureQueue.async { look() }
    } else {
      fetchQueue.addOperation { look() }
    }
  }

  /// The rows of each picture. One that comes twice in a request is fetched once.
  private func rows(_ pictures: [RequestPicture], _ sight: Sight, _ reply: Reply) throws(APIError) -> [[Float]] {
    var fetched: [String: [Float]] = [:]
    var rows: [[Float]] = []
    let end = monotonicSeconds() + (model.fetcher?.seconds ?? 0)
    for picture in pictures {
      if reply.isClosed || isStopping { throw APIError.stopping }
      if let known = fetched[picture.url] {
        rows.append(known)
        continue
      }
      let found: [Float]
      do {
        found = try sight.rows(try content(of: picture, limit: sight.byteLimit, before: end))
      } catch {
        throw APIError.invalid(
          picture.place, "a picture of '\(picture.place)' \(error)",
          code: error is FetchError ? "invalid_image_url" : "invalid_image")
      }
      if !picture.isInline { fetched[picture.url] = found }
      rows.append(found)
    }
    return rows
  }

  private func content(of picture: RequestPicture, limit: Int, before end: Double) throws -> [UInt8] {
    guard !picture.isInline, let fetcher = model.fetcher else { return try DataURL.bytes(picture.url, limit: limit) }
    return try fetcher.content(picture.url, limit: limit, before: end)
  }
}
