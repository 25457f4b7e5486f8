import Programs

/// Where the rows of experts lie: each slot, a token and one expert that it takes, has a row; expert after expert, the rows
/// of each filled up to whole blocks of one length. So shapes are the same wherever tokens go, and no slot is left out:
///
///     expert     0 0 0 0 1 1 1 1 1 1 1 1 2 2 2 2        blocks of 4 rows
///     slot       3 7 - - 0 1 4 5 8 - - - 2 6 9 -        - is a row without a slot
///
/// There are at most slots / length + experts blocks, and that many are computed.
package struct ExpertBlocks {
  package let length: Int
  package let count: Int
  /// int32, [slots] the row of each slot. Slots are the first choices of all tokens, then the second ones, and so on.
  private let rowOfSlot: Tensor
  /// int32, [count·length] the slot of each row, and whether it has one, [count·length, 1].
  private let slotOfRow, hasSlot: Tensor
  /// int32, [count·length] the token of each row; some token's where there is none.
  private let tokenOfRow: Tensor
  /// int32, [count] the expert of each block; for blocks that no expert needs, the last.
  package let expertOfBlock: Tensor

  /// - Parameters:
  ///   - choices: for each of the k choices, [tokens, experts]: 1 for the expert, else 0.
  ///   - length: rows of a block.
  package init(_ choices: [Tensor], length: Int) {
    let (tokens, experts) = (choices[0].shape[0], choices[0].shape[1])
    let slots = choices.count * tokens
    let isTaken = Tensor.concatenated(choices, 0).converted(to: .int32)
    let builder = isTaken.builder
    self.length = length
    count = slots / length + experts

    // How many slots before have the same expert, and where the expert's rows begin.
    let before = isTaken.cumulativeSum(0) - isTaken
    let blocks = (isTaken.sum(0) + Double(length - 1)) / isTaken.sum(0).filled(Double(length))
    let ends = blocks.cumulativeSum(1)
    rowOfSlot = (((ends - blocks) * Double(length) + before) * isTaken).sum(1).reshaped([slots])

    let numbers = builder.iota(TensorType(.int32, [slots]), axis: 0)
    let none = builder.constant(-1, TensorType(.int32, [count * length]))
    slotOfRow = none.adding(numbers + 1, toRows: rowOfSlot)
    hasSlot = (slotOfRow.filled(0) .<= slotOfRow).reshaped([count * length, 1])
    // A slot's token is its number without those of the choices before.
    let choice = Tensor.maximum(slotOfRow, slotOfRow.filled(0)) / slotOfRow.filled(Double(tokens))
    tokenOfRow = slotOfRow - choice * Double(tokens)

    let block = builder.iota(TensorType(.int32, [count, experts]), axis: 0)
    let expert = (ends .<= block).converted(to: .int32).sum(1).reshaped([count])
    expertOfBlock = .minimum(expert, expert.filled(Double(experts - 1)))
  }

  /// - Parameter rows: [tokens, hidden].
  /// - Returns: [count, length, hidden] each row's token's; rows without a slot have some token's.
  package func gather(_ rows: Tensor) -> Tensor {
    rows.rows(tokenOfRow).reshaped([count, length, rows.shape[1]])
  }

  /// - Parameter experts: for each expert, [tokens, width].
  /// - Returns: [count, length, width] each row's token's, by the expert of its block.
  func gather(_ experts: [Tensor]) -> Tensor {
    let (tokens, width) = (experts[0].shape[0], experts[0].shape[1])
    let expert = expertOfBlock.reshaped([count, 1]).broadcast(to: [count, length]).reshaped([count * length])
    return Tensor.concatenated(experts, 0).rows(expert * Double(tokens) + tokenOfRow)
      .reshaped([count, length, width])
  }

  /// The gradient of `gather`, of rows without a slot being 0: [tokens, hidden].
  package func gatherBackward(_ dRows: Tensor, choices: Int) -> Tensor {
    let parts = scatter(dRows, choices: choices)
    return parts.dropFirst().reduce(parts[0], +)
  }

  /// - Parameter rows: [count, length, hidden].
  /// - Returns: for each of the k choices, [tokens, hidden].
  package func scatter(_ rows: Tensor, choices: Int) -> [Tensor] {
    let slots = rows.reshaped([count * length, rows.shape[2]]).rows(rowOfSlot)
    return slots.split(0, [Int](repeating: slots.shape[0] / choices, count: choices))
  }

  /// The gradient of `scatter`: [count, length, hidden], 0 in rows without a slot.
  package func scatterBackward(_ dChoices: [Tensor]) -> Tensor {
    let rows = Tensor.concatenated(dChoices, 0).rows(slotOfRow)
    return rows.kept(where: hasSlot, else: 0).reshaped([count, length, rows.shape[1]])
  }
}
