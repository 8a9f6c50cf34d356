package org.sequencelayers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** The C header. */
final class Header {
  private static final Path FILE =
      Path.of(
          System.getProperty("sequencelayers.root"), "include/sequence_layers/sequence_layers.h");

  private Header() {}

  /** The enum values whose names begin with a prefix, by the rest of the name. */
  static Map<String, Integer> numbers(String prefix) {
    try {
      return Pattern.compile("\\b" + prefix + "(\\w+) = (\\d+)")
          .matcher(Files.readString(FILE))
          .results()
          .collect(
              Collectors.toMap(match -> match.group(1), match -> Integer.valueOf(match.group(2))));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
