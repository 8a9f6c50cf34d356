package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.sun.jna.Library;
import com.sun.jna.Native;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Prints what a call from Java costs beyond one from C, with either of JNA's mappings. */
class OverheadTest {
  private static final JsonObject PART = Suite.part("overhead");
  private static final int STEPS = PART.get("steps").getAsInt();
  private static final int ROUNDS = PART.get("rounds").getAsInt();

  /** The functions by JNA's other way: a proxy of an interface. */
  interface JnaProxy extends Abi, Library {}

  @Test
  void printsTheOverhead() throws Exception {
    JnaProxy proxy =
        Native.load(
            JnaPlatform.libraryName(),
            JnaProxy.class,
            Map.of(Library.OPTION_FUNCTION_MAPPER, JnaAbi.NAMES));
    try (Layer layer = Layer.open(Suite.model(PART));
        State state = layer.newState(new StateOptions().input(ChannelSpec.of(DType.FLOAT32)))) {
      Sequence x = Sequence.allocate(DType.FLOAT32, 1, 1);
      Sequence y = Sequence.allocate(DType.FLOAT32, 1, 1);
      x.floats().put(0, 1.5f);
      Stepper stepper = state.stepper(x, y, null, null);
      double inC = PART.get("c_seconds_per_step").getAsDouble();
      double step = leastMean(stepper::step);
      assertEquals(3, y.floats().get(0));
      double direct = leastMean(() -> raw(Calls.ABI, layer, state, x, y));
      double mapped = leastMean(() -> raw(proxy, layer, state, x, y));
      String line =
          String.format(
              "overhead per step: %.0f ns beyond C (%.0f ns, in C %.0f ns); of the call alone: JNA"
                  + " direct mapping %.0f ns, JNA interface mapping %.0f ns",
              (step - inC) * 1e9,
              step * 1e9,
              inC * 1e9,
              (direct - inC) * 1e9,
              (mapped - inC) * 1e9);
      System.out.println(line);
      Files.writeString(
          Path.of(System.getProperty("sequencelayers.output"), "overhead.txt"), line + "\n");
      // Far above what it is, and far below what a copy or a lookup by name would cost.
      assertTrue(step - inC < 5e-6, line);
      assertTrue(direct < mapped, line);
    }
  }

  private static void raw(Abi abi, Layer layer, State state, Sequence x, Sequence y) {
    long options = 0;
    assertEquals(
        0,
        abi.layerStep(
            layer.handle().address(), state.address(), x.address(), y.address(), options, 0));
  }

  /** Seconds of a call: the least of the means of the rounds. */
  private static double leastMean(Runnable call) {
    double least = Double.POSITIVE_INFINITY;
    for (int round = 0; round < ROUNDS; ++round) {
      long start = System.nanoTime();
      for (int i = 0; i < STEPS; ++i) {
        call.run();
      }
      least = Math.min(least, (System.nanoTime() - start) * 1e-9 / STEPS);
    }
    return least;
  }
}
