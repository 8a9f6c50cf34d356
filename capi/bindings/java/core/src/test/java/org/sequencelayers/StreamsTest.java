package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** A hundred streams of one model on four threads. */
class StreamsTest {
  private static final JsonObject PART = Suite.part("streams");
  private static final int BLOCKS = PART.get("blocks").getAsInt();
  private static final long[] STARTS = Suite.longs(PART, "starts");

  @Test
  void interleavedStreamsGiveWhatEachGivesAlone() throws Exception {
    int threads = PART.get("threads").getAsInt();
    assertEquals(100, STARTS.length);
    assertEquals(4, threads);
    float[] expected = Suite.floats(PART, "expected");
    ExecutorService executor = Executors.newFixedThreadPool(threads);
    try (Layer layer = Vad.open()) {
      float[][] together = new float[STARTS.length][BLOCKS];
      List<Callable<Void>> tasks = new ArrayList<>();
      for (int thread = 0; thread < threads; ++thread) {
        int first = thread;
        tasks.add(() -> interleaved(layer, first, threads, together));
      }
      for (Future<Void> task : executor.invokeAll(tasks)) {
        task.get();
      }
      float tolerance = PART.get("tolerance").getAsFloat();
      for (int i = 0; i < STARTS.length; ++i) {
        float[] row = Arrays.copyOfRange(expected, i * BLOCKS, (i + 1) * BLOCKS);
        assertArrayEquals(row, together[i], tolerance);
        assertArrayEquals(alone(layer, STARTS[i]), together[i]);
      }
    } finally {
      executor.shutdown();
    }
  }

  /** Runs every `stride`th stream, block by block in turn. */
  private static Void interleaved(Layer layer, int first, int stride, float[][] results) {
    List<Stepper> steppers = new ArrayList<>();
    for (int i = first; i < STARTS.length; i += stride) {
      steppers.add(layer.newState().stepper(Vad.BLOCK));
    }
    for (int block = 0; block < BLOCKS; ++block) {
      for (int i = 0; i < steppers.size(); ++i) {
        int stream = first + i * stride;
        int start = (int) STARTS[stream] + block * Vad.BLOCK;
        results[stream][block] = Vad.step(steppers.get(i), start);
      }
    }
    steppers.forEach(Stepper::close);
    return null;
  }

  private static float[] alone(Layer layer, long start) {
    try (State state = layer.newState()) {
      int first = (int) start / Vad.BLOCK;
      return Vad.run(state, first, first + BLOCKS);
    }
  }
}
