package org.sequencelayers;

import java.util.Locale;

/** Type of an element: {@code sl_dtype}. */
public enum DType {
  /** A Java {@code float}. */
  FLOAT32(4),
  /** A Java {@code int}. */
  INT32(4),
  /** One byte, 0 or 1. */
  BOOL(1),
  /** Two floats: real, imaginary. */
  COMPLEX64(8),
  /** The upper half of a {@code float}. */
  BFLOAT16(2),
  /** IEEE half precision. */
  FLOAT16(2),
  /** A Java {@code byte}. */
  INT8(1);

  private final int size;

  DType(int size) {
    this.size = size;
  }

  /**
   * Size of an element.
   *
   * @return bytes
   */
  public int size() {
    return size;
  }

  /**
   * The name that configs use.
   *
   * @return such as {@code float32}
   */
  public String configName() {
    return name().toLowerCase(Locale.ROOT);
  }

  static DType of(int number) {
    if (number < 0 || number >= values().length) {
      throw new IllegalArgumentException("this binding does not know dtype " + number);
    }
    return values()[number];
  }
}
