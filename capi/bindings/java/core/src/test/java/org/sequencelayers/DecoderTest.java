package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.JsonObject;
import java.util.Arrays;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Tokens, greedy as the JAX reference has them, and drawn. */
class DecoderTest {
  private static final JsonObject PART = Suite.part("decoder");
  private static final JsonObject GREEDY = PART.getAsJsonObject("greedy");
  private static final int[] TOKENS = Suite.ints(GREEDY, "tokens");

  private static Layer layer;

  @BeforeAll
  static void open() {
    layer = Layer.open(Suite.model(PART));
  }

  @AfterAll
  static void close() {
    layer.close();
  }

  private static DecoderOptions options() {
    return new DecoderOptions().startToken(PART.get("start_token").getAsInt());
  }

  private static DecoderOptions sampledOptions() {
    JsonObject sampled = PART.getAsJsonObject("sampled");
    return options()
        .seed(sampled.get("seed").getAsLong())
        .temperature(sampled.get("temperature").getAsFloat())
        .topK(sampled.get("top_k").getAsLong())
        .topP(sampled.get("top_p").getAsFloat());
  }

  private static Sequence prompt() {
    Sequence prompt = Suite.tensor(PART, "prompt");
    return Sequence.of(prompt.ints(), 1, prompt.dim(0));
  }

  private static int[] sample(Decoder decoder, int count) {
    int[] tokens = new int[count];
    for (int i = 0; i < count; ++i) {
      decoder.sample();
      tokens[i] = decoder.tokens().get(0);
    }
    return tokens;
  }

  @Test
  void choosesTheReferencesTokens() {
    float[] expected = Suite.floats(GREEDY, "log_probs");
    double tolerance = GREEDY.get("tolerance").getAsDouble();
    try (Decoder decoder = layer.newDecoder(options())) {
      for (int round = 0; round < 2; ++round) {
        decoder.prefill(prompt());
        for (int i = 0; i < TOKENS.length; ++i) {
          decoder.sample();
          assertEquals(TOKENS[i], decoder.tokens().get(0));
          assertEquals(expected[i], decoder.logProbs().get(0), tolerance);
          assertEquals(1, decoder.mask().get(0));
        }
        decoder.reset();
      }
    }
  }

  @Test
  void scoresGivenTokens() {
    float[] expected = Suite.floats(GREEDY, "log_probs");
    int start = (int) prompt().dim(1);
    Sequence tokens = Sequence.allocate(DType.INT32, 1, start + TOKENS.length);
    tokens.ints().put(0, prompt().ints(), 0, start).put(start, TOKENS);
    try (Decoder decoder = layer.newDecoder(options())) {
      Sequence scores = decoder.logProb(tokens, null);
      for (int i = 0; i < TOKENS.length; ++i) {
        assertEquals(
            expected[i], scores.floats().get(start + i), GREEDY.get("tolerance").getAsDouble());
      }
    }
  }

  @Test
  void stops() {
    JsonObject stop = PART.getAsJsonObject("stop");
    int count = stop.get("count").getAsInt();
    int pad = stop.get("pad_token").getAsInt();
    DecoderOptions options = options().stopToken(stop.get("stop_token").getAsInt()).padToken(pad);
    try (Decoder decoder = layer.newDecoder(options)) {
      decoder.prefill(prompt());
      assertArrayEquals(Arrays.copyOf(TOKENS, count), sample(decoder, count));
      assertEquals(1, decoder.mask().get(0));
      decoder.sample();
      assertEquals(pad, decoder.tokens().get(0));
      assertEquals(0, decoder.mask().get(0));
    }
  }

  @Test
  void drawsTheRecordedTokensAndForks() {
    long[] expected = Suite.longs(PART.getAsJsonObject("sampled"), "tokens");
    int[] tokens = Arrays.stream(expected).mapToInt(Math::toIntExact).toArray();
    try (Decoder decoder = layer.newDecoder(sampledOptions());
        Decoder fork = layer.newDecoder(sampledOptions())) {
      decoder.prefill(prompt());
      fork.copyFrom(decoder);
      assertArrayEquals(tokens, sample(decoder, tokens.length));
      assertArrayEquals(tokens, sample(fork, tokens.length));
    }
  }
}
