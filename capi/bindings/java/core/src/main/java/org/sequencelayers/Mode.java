package org.sequencelayers;

/** How a model runs: {@code sl_mode}. */
public enum Mode {
  /** A whole sequence at once. */
  LAYER,
  /** Block after block of a stream. */
  STEP
}
