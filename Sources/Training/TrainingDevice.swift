/// Where a run computes. Its checkpoints do not show it, so a run may go on elsewhere.
package enum TrainingDevice: String, SettingChoice {
  /// The machine's processor.
  case cpu
  /// A GPU, through a plugin of PJRT.
  case gpu
}
