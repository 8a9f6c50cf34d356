package org.sequencelayers;

/** Why a call failed: {@code sl_status}. */
public enum Status {
  /** The call succeeded. */
  OK,
  /** A size that cannot be, a missing constant, or a call out of order. */
  INVALID_ARGUMENT,
  /** The JSON config: the message names the JSON path and what was expected. */
  CONFIG,
  /** A missing, extra, misshapen or mistyped tensor, or a broken weights file. */
  WEIGHTS,
  /** A channel shape, dtype or length that the layer cannot take. */
  SHAPE,
  /** The layer cannot do this, such as step a convolution that is not causal. */
  UNSUPPORTED,
  /** A file that cannot be read. */
  IO,
  /** There is not enough memory, or more would be needed than a limit allows. */
  OUT_OF_MEMORY,
  /** Saved bytes of another model, other options or another version. */
  STATE,
  /** A callback of the caller's reported failure. */
  CALLBACK,
  /** A defect of the library. */
  INTERNAL,
  /** More steps than the maximum length of a stream. */
  LENGTH,
  /** A status that this version of the binding does not know. */
  UNKNOWN;

  /**
   * Number of the status in the C ABI.
   *
   * @return the {@code sl_status}; -1 for {@link #UNKNOWN}
   */
  public int code() {
    return this == UNKNOWN ? -1 : ordinal();
  }

  static Status of(int code) {
    return code >= 0 && code < UNKNOWN.ordinal() ? values()[code] : UNKNOWN;
  }
}
