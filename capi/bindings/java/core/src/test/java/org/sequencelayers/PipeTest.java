package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** Audio of any sizes of calls, late by the latency; swaps of models. */
class PipeTest {
  private static Pipe pipe(String config, PipeOptions options) {
    try (Layer layer = Layer.create(config, null, new LayerOptions())) { // the pipe keeps it alive
      return layer.newPipe(options.hostRate(48000));
    }
  }

  private static Pipe scale(double by) {
    return pipe("{\"type\": \"Scale\", \"scale\": " + by + "}", new PipeOptions());
  }

  private static float[][] ramp(int channels, int frames) {
    float[][] out = new float[channels][frames];
    for (int i = 0; i < channels * frames; ++i) {
      out[i / frames][i % frames] = i + 1;
    }
    return out;
  }

  private static float[][] part(float[][] of, int begin, int end) {
    return Arrays.stream(of).map(c -> Arrays.copyOfRange(c, begin, end)).toArray(float[][]::new);
  }

  @Test
  void isLateByItsLatencyAtAnySizes() {
    PipeOptions options = new PipeOptions().hostChannels(2).maxFrames(64);
    try (Pipe pipe = pipe("{\"type\": \"Lookahead\", \"length\": 37}", options)) {
      assertEquals(37, pipe.latency());
      float[][] x = ramp(2, 1000);
      int begin = 0;
      for (int end : new int[] {0, 1, 64, 264, 1000}) {
        float[][] expected = part(x, begin, end);
        for (float[] channel : expected) {
          Arrays.fill(channel, 0, Math.min(channel.length, Math.max(0, 37 - begin)), 0);
        }
        float[][] y = new float[2][end - begin];
        pipe.process(part(x, begin, end), y);
        assertArrayEquals(expected, y, "to frame " + end);
        begin = end;
      }
      assertArrayEquals(new float[2][37], pipe.flush());
      assertThrows(SequenceLayersException.class, () -> pipe.process(x, x));
      pipe.reset();
      float[][] y = new float[2][1000];
      pipe.process(x, y);
      assertEquals(x[1][999], y[1][999]);
    }
  }

  @Test
  void swapsModels() {
    final long before = Handle.live();
    Pipe pipe = scale(1);
    Pipe next = scale(3);
    pipe.swap(next);
    assertTrue(pipe.isFading());
    assertThrows(IllegalStateException.class, next::latency);
    Pipe another = scale(4);
    assertThrows(SequenceLayersException.class, () -> pipe.swap(another));
    float[][] x = ramp(1, 48000);
    pipe.process(x, x);
    assertEquals(3 * 48000f, x[0][47999]);
    assertFalse(pipe.isFading());
    pipe.swap(another);
    next.close();
    pipe.close();
    pipe.close();
    assertEquals(before, Handle.live());
  }

  @Test
  void mixesInTheInputAndRefusesWhatDoesNotFit() {
    try (Pipe pipe =
        pipe("{\"type\": \"Scale\", \"scale\": 0.0}", new PipeOptions().dry(1).hostChannels(2))) {
      float[][] x = ramp(2, 4800);
      float[][] y = new float[2][4800];
      pipe.process(x, y);
      assertArrayEquals(x, y);
      pipe.setDry(0);
      pipe.process(x, y);
      assertEquals(0, y[0][4799]);
      assertThrows(SequenceLayersException.class, () -> pipe.setDry(2));
      assertThrows(IllegalArgumentException.class, () -> pipe.process(ramp(1, 8), ramp(2, 8)));
      assertThrows(IllegalArgumentException.class, () -> pipe.process(ramp(2, 8), ramp(2, 9)));
    }
    String config = "{\"type\": \"Downsample1D\", \"rate\": 2}";
    SequenceLayersException refused =
        assertThrows(SequenceLayersException.class, () -> pipe(config, new PipeOptions()));
    assertEquals(Status.UNSUPPORTED, refused.status());
  }
}
