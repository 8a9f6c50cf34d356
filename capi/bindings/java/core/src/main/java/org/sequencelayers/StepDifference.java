package org.sequencelayers;

/**
 * A layer for which steps give other values than whole runs.
 *
 * @param condition when they do
 * @param layer path of the layer; empty for the model itself
 * @param type its type
 * @param reason why, for people
 * @param cure what to change in the config or the input
 */
public record StepDifference(
    Condition condition, String layer, String type, String reason, String cure) {
  /** When steps give other values than a whole run. */
  public enum Condition {
    /** For every input. */
    ALWAYS,
    /** If the input has invalid steps before valid ones. */
    HOLES,
    /** The number of invalid steps at the end of the input decides what becomes of valid ones. */
    PADDING
  }
}
