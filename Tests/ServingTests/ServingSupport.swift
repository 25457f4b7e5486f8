import Generation
import Serving
import Storage
import StructuredOutput
import Tokenization

enum ServingSupport {
  static let tokenizer: Tokenizer = {
    var trainer = try! TokenizerTrainer(vocabularySize: 300, threads: 1)
    for line in ["hello world, hello there", "what a world", "你好，世界。你好。"] { try! trainer.add(document: line) }
    return try! trainer.train()
  }()

  static let vocabulary = TokenVocabulary(tokenizer, endTokens: [tokenizer.endToken])
  static let reader = TextInputReader(tokenizer: tokenizer, contextLength: 64)

  static func chat(_ body: String) throws(APIError) -> GenerationCall {
    try GenerationCall(chat: RequestFields(body: Array(body.utf8)), reader, .success(ChatTemplate()), vocabulary)
  }

  static func completion(_ body: String) throws(APIError) -> GenerationCall {
    try GenerationCall(completion: RequestFields(body: Array(body.utf8)), reader, vocabulary)
  }
}
