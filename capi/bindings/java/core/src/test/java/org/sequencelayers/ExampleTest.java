package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The example of the documentation does what it says, and is the one that stands there. */
class ExampleTest {
  private static final Path ROOT = Path.of(System.getProperty("sequencelayers.root"));

  @Test
  void printsTheGoldenProbabilities() throws Exception {
    byte[] speech = Suite.bytes(Vad.PART.getAsJsonObject("input").get("file").getAsString());
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    InputStream in = System.in;
    PrintStream out = System.out;
    System.setIn(new ByteArrayInputStream(speech));
    System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
    try {
      VadExample.main(new String[] {Suite.model(Vad.PART).toString()});
    } finally {
      System.setIn(in);
      System.setOut(out);
    }
    List<String> lines = printed.toString(StandardCharsets.UTF_8).lines().toList();
    assertEquals(Vad.EXPECTED.length, lines.size());
    for (int i = 0; i < lines.size(); ++i) {
      assertEquals(Vad.EXPECTED[i], Float.parseFloat(lines.get(i)), 0.0006);
    }
  }

  @Test
  void standsInTheDocumentation() throws Exception {
    String source =
        Files.readString(
            ROOT.resolve(
                "capi/bindings/java/core/src/test/java/org/sequencelayers/VadExample.java"));
    int start = source.indexOf("    try (Layer layer");
    String body = source.substring(start, source.indexOf("\n  }\n", start)).stripIndent();
    for (String page : List.of("README.md", "docs/bindings/java.md")) {
      String text = Files.readString(ROOT.resolve(page));
      assertTrue(text.contains("```java\n" + body + "\n```"), page + " lacks\n" + body);
    }
  }
}
