package org.sequencelayers;

/** Severity of a message of the library. */
public enum LogLevel {
  /** Details for the library's developers. */
  DEBUG,
  /** Steps of its work. */
  INFO,
  /** Possible surprises. */
  WARNING,
  /** Failures beside an error that is returned. */
  ERROR,
  /** Nothing. */
  OFF;

  /** The {@code sl_log_level}. */
  int code() {
    return ordinal() + 1;
  }

  static LogLevel of(int code) {
    return values()[code - 1];
  }
}
