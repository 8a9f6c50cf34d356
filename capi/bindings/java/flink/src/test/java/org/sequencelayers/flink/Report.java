package org.sequencelayers.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Tells what happens, on the output and in a file, and compares results. */
final class Report {
  private final long start = System.nanoTime();
  private final StringBuilder text = new StringBuilder();
  private final Path file;

  Report(String name) {
    file = Cluster.DIRECTORY.resolve(name + ".log");
  }

  void say(String format, Object... arguments) throws IOException {
    String line =
        String.format(
            "%6.2f s  %s", (System.nanoTime() - start) * 1e-9, String.format(format, arguments));
    System.out.println(line);
    text.append(line).append('\n');
    Files.writeString(file, text);
  }

  /** Compares lines of results without regard to their order, and says how they differ. */
  void compare(List<String> expected, List<String> actual) throws IOException {
    Map<String, String> values = new HashMap<>();
    Set<String> doubled = new HashSet<>();
    for (String line : actual) {
      if (values.put(block(line), line) != null) {
        doubled.add(block(line));
      }
    }
    int missing = 0;
    int different = 0;
    for (String line : expected) {
      String found = values.remove(block(line));
      missing += found == null ? 1 : 0;
      different += found == null || found.equals(line) ? 0 : 1;
    }
    say(
        "results: %d of %d; missing %d, doubled %d, different %d, unknown %d",
        actual.size(), expected.size(), missing, doubled.size(), different, values.size());
    assertEquals(0, missing);
    assertEquals(Collections.emptySet(), doubled);
    assertEquals(0, different);
    assertEquals(Collections.emptyMap(), values);
    assertEquals(expected.size(), actual.size());
  }

  /** Session and index of a line. */
  private static String block(String line) {
    return line.substring(0, line.lastIndexOf(','));
  }
}
