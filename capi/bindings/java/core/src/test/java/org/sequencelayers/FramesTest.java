package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.gson.JsonObject;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Decoders whose steps have several tokens. */
class FramesTest {
  private static final JsonObject PART = Suite.part("frames");
  private static final long[] DIMS = Suite.tensor(PART, "tokens").dims();
  private static final int TIME = (int) DIMS[1];
  private static final int PARTS = (int) DIMS[2];
  private static final int[] TOKENS = Suite.ints(PART, "tokens");
  private static final int PROMPT = 3;

  private static Layer layer;

  @BeforeAll
  static void open() {
    layer = Layer.open(Suite.model(PART));
  }

  @AfterAll
  static void close() {
    layer.close();
  }

  private static Constants constants(int start, int end) {
    return Suite.constants(PART, start, end);
  }

  /** The constants of one stream. */
  private static Constants constants(int stream, int start, int end) {
    Sequence all = constants(start, end).values().get("source");
    int size = all.floats().capacity() / 2;
    Sequence one = Sequence.allocate(DType.FLOAT32, 1, end - start, all.dim(2));
    one.floats().put(0, all.floats(), stream * size, size);
    return Constants.of(Map.of("source", one));
  }

  private static int[] frame(int stream, int time) {
    int begin = (stream * TIME + time) * PARTS;
    return Arrays.copyOfRange(TOKENS, begin, begin + PARTS);
  }

  private static Sequence prompt(int time, int... streams) {
    Sequence prompt = Sequence.allocate(DType.INT32, streams.length, time, PARTS);
    for (int i = 0; i < streams.length; ++i) {
      prompt.ints().put(i * time * PARTS, TOKENS, streams[i] * TIME * PARTS, time * PARTS);
    }
    return prompt;
  }

  /** The tokens of the first streams of a choice. */
  private static int[] chosen(Decoder decoder, int streams) {
    int[] tokens = new int[streams * PARTS];
    decoder.tokens().get(0, tokens);
    return tokens;
  }

  @Test
  void choosesTheRecordedFrames() {
    float[] expected = Suite.floats(PART, "log_probs");
    float tolerance = PART.get("tolerance").getAsFloat();
    DecoderOptions options = new DecoderOptions().batch(2).constants(constants(0, 1));
    try (Decoder decoder = layer.newDecoder(options)) {
      assertEquals(PARTS, decoder.stepTokens());
      assertEquals(2 * PARTS, decoder.logProbs().capacity());
      float[] scores = new float[expected.length];
      decoder.logProb(prompt(TIME, 0, 1), constants(0, TIME)).floats().get(0, scores);
      assertArrayEquals(expected, scores, tolerance);
      for (int t = 0; t < TIME; ++t) {
        decoder.sample(constants(t, t + 1));
        for (int stream = 0; stream < 2; ++stream) {
          int[] tokens = Arrays.copyOfRange(chosen(decoder, 2), stream * PARTS, 2 * PARTS);
          assertArrayEquals(frame(stream, t), Arrays.copyOf(tokens, PARTS));
          for (int k = 0; k < PARTS; ++k) {
            float found = decoder.logProbs().get(stream * PARTS + k);
            assertEquals(expected[(stream * TIME + t) * PARTS + k], found, tolerance);
          }
          assertEquals(1, decoder.mask().get(stream));
        }
      }
      Sequence flat = Sequence.allocate(DType.INT32, 2, PROMPT);
      assertThrows(
          SequenceLayersException.class, () -> decoder.prefill(flat, constants(0, PROMPT)));
    }
  }

  @Test
  void slotsContinueAfterTheirPrompts() {
    DecoderOptions options = new DecoderOptions().batch(2).constants(constants(0, 1));
    try (Decoder decoder = layer.newDecoder(options)) {
      decoder.prefill(prompt(PROMPT, 0, 1), constants(0, PROMPT));
      decoder.startSlot(1);
      decoder.prefillSlot(1, prompt(PROMPT, 1), constants(1, 0, PROMPT));
      for (int t = PROMPT; t < TIME; ++t) {
        for (int slot = 1; slot >= 0; --slot) {
          decoder.sampleSlots(new long[] {slot}, constants(slot, t, t + 1));
          assertArrayEquals(frame(slot, t), chosen(decoder, 1));
        }
      }
    }
  }

  @Test
  void negativesGuide() {
    JsonObject guided = PART.getAsJsonObject("guided");
    int[] expected = Suite.ints(guided, "tokens");
    float scale = guided.getAsJsonArray("guidance").get(0).getAsFloat();
    DecoderOptions options = new DecoderOptions().guidance(scale).constants(constants(0, 1));
    try (Decoder decoder = layer.newDecoder(options)) {
      for (int round = 0; round < 2; ++round) {
        for (int t = 0; t < TIME; ++t) {
          decoder.sample(constants(t, t + 1));
          int[] want = Arrays.copyOfRange(expected, t * PARTS, (t + 1) * PARTS);
          assertArrayEquals(want, chosen(decoder, 1));
        }
        decoder.startSlot(0, options);
      }
    }
  }
}
