package org.sequencelayers;

/** The library itself. */
public final class SequenceLayers {
  private SequenceLayers() {}

  /**
   * Version of the library.
   *
   * @return such as {@code 1.0.0}
   */
  public static String version() {
    int version = Calls.ABI.version();
    return (version >> 16) + "." + (version >> 8 & 0xff) + "." + (version & 0xff);
  }

  /**
   * Name of a status that the library returned.
   *
   * @param code an {@code sl_status}
   * @return a short English name
   */
  public static String statusName(int code) {
    return Platform.CURRENT.string(Calls.ABI.statusName(code));
  }
}
