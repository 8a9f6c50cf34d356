package org.sequencelayers;

import java.util.function.BiConsumer;

/** The library itself. */
public final class SequenceLayers {
  private static volatile BiConsumer<LogLevel, String> log;

  private SequenceLayers() {}

  /** Made when the first callback is set. */
  private static final class Forwarder {
    static final long FUNCTION = Platform.CURRENT.logFunction(SequenceLayers::forward);
  }

  private static void forward(long userData, int level, long message) {
    BiConsumer<LogLevel, String> callback = log;
    if (callback != null) {
      callback.accept(LogLevel.of(level), Platform.CURRENT.string(message));
    }
  }

  /**
   * Sends messages of the library to a callback. Steps never log. No other thread may be inside the
   * library during this call.
   *
   * @param level the minimum
   * @param callback gets the severity and the text of each message; null: to stderr, as at first
   */
  public static void setLog(LogLevel level, BiConsumer<LogLevel, String> callback) {
    log = callback;
    Calls.ABI.logSet(callback == null ? 0 : Forwarder.FUNCTION, 0, level.code());
  }

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
