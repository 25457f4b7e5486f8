import Rewards
import Storage
import Testing

@Suite struct TaskSetTests {
  @Test("what a task shows as its answer is right, in both languages", arguments: TaskKind.allCases)
  func demonstrations(_ kind: TaskKind) throws {
    let set = try TaskSet([kind], TaskLanguage.allCases, count: 300, heldOutCount: 50, digits: 3, seed: 1)
    #expect(set.training.count == 300 && set.heldOut.count == 50)
    for task in set.training + set.heldOut {
      #expect(task.check.isMet(by: try #require(task.demonstration)), "\(task.json.compactText)")
      #expect(!task.check.isMet(by: "I do not know."))
      #expect(try VerifiableTask(JSON(parsing: task.json.compactText)) == task)
    }
    // Both languages are there, and no question is on both sides.
    #expect(
      set.training.contains {
        $0.messages.last!.content.unicodeScalars.contains { $0.value > 0x4000 && $0.value < 0xF000 }
      })
    let seen = Set(set.training.map { $0.check.expected + $0.messages.last!.content })
    #expect(set.heldOut.allSatisfy { !seen.contains($0.check.expected + $0.messages.last!.content) })
  }

  @Test("operands in any order are one question, and a set is never more than there is") func distinct() throws {
    let set = try TaskSet([.addition], [.english], count: 40, heldOutCount: 10, digits: 1, seed: 3)
    func operands(_ task: VerifiableTask) -> [Int] {
      task.messages[0].content.split { !$0.isNumber }.compactMap { Int($0) }.sorted()
    }
    #expect(Set((set.training + set.heldOut).map(operands)).count == 50)
    let error = try #require(throws: TaskProblem.self) {
      try TaskSet([.addition], [.english], count: 100, heldOutCount: 10, digits: 1, seed: 3)
    }
    #expect(error.description.contains("hardly more than 55 different questions of addition with 1 digit."))
  }

  @Test("the same seed makes the same tasks, another one others") func seeds() throws {
    func texts(_ seed: Int) throws -> [String] {
      try TaskSet(TaskKind.allCases, TaskLanguage.allCases, count: 5, heldOutCount: 2, digits: 2, seed: seed)
        .training.map(\.json.compactText)
    }
    #expect(try texts(7) == texts(7))
    #expect(try texts(7) != texts(8))
  }

  @Test(
    "dates are those of the calendar",
    arguments: [(19_782, "2024-02-29"), (0, "1970-01-01"), (11_016, "2000-02-29"), (-1, "1969-12-31")])
  func dates(_ number: Int, _ text: String) { #expect(CalendarDay(number: number).description == text) }
}
