package org.sequencelayers;

import java.io.Serial;

/** A call of the library failed. */
public final class SequenceLayersException extends RuntimeException {
  @Serial private static final long serialVersionUID = 1;

  /** The code of the C ABI. */
  private final int code;

  /**
   * Makes the exception of a failed call. A {@link CustomLayer} throws one to choose the message.
   *
   * @param code the {@code sl_status}
   * @param message what was wrong
   * @param cause what a callback threw, or null
   */
  public SequenceLayersException(int code, String message, Throwable cause) {
    super(message, cause);
    this.code = code;
  }

  /**
   * The {@code sl_status} of the call.
   *
   * @return its number in the C ABI
   */
  public int code() {
    return code;
  }

  /**
   * The {@code sl_status} of the call by its name.
   *
   * @return the status
   */
  public Status status() {
    return Status.of(code);
  }
}
