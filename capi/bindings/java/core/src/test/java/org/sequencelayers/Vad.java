package org.sequencelayers;

import com.google.gson.JsonObject;
import java.util.Arrays;

/** The VAD of the suite: each block of samples gives a probability. */
final class Vad {
  static final JsonObject PART = Suite.part("vad");
  static final int BLOCK = PART.get("block").getAsInt();
  static final double TOLERANCE = PART.get("tolerance").getAsDouble();
  static final float[] SAMPLES = Suite.floats(PART, "input");
  static final float[] EXPECTED = Suite.floats(PART, "expected");

  private Vad() {}

  static Layer open() {
    return Layer.open(Suite.model(PART));
  }

  /** One step over the block that begins at a sample. */
  static float step(Stepper stepper, int start) {
    stepper.input().floats().put(0, SAMPLES, start, BLOCK);
    stepper.step();
    return stepper.output().floats().get(0);
  }

  /** The probabilities of the blocks [first, last). */
  static float[] run(State state, int first, int last) {
    Stepper stepper = state.stepper(BLOCK);
    float[] probabilities = new float[last - first];
    for (int i = first; i < last; ++i) {
      probabilities[i - first] = step(stepper, i * BLOCK);
    }
    return probabilities;
  }

  static float[] expected(int first, int last) {
    return Arrays.copyOfRange(EXPECTED, first, last);
  }
}
