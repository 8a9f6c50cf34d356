package org.sequencelayers;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;

/** The example of the documentation: probabilities of speech for float32 samples of the input. */
final class VadExample {
  private VadExample() {}

  /** Runs the model of a directory. */
  public static void main(String[] arguments) throws IOException {
    try (Layer layer = Layer.open(Path.of(arguments[0]));
        State stream = layer.newState()) { // one stream, one block per step
      Stepper stepper = stream.stepper(512);
      FloatBuffer samples = stepper.input().floats(); // direct memory, written in place
      while (read(samples)) {
        stepper.step(); // allocates nothing
        System.out.printf("%.3f%n", stepper.output().floats().get(0));
      }
    }
  }

  private static boolean read(FloatBuffer samples) throws IOException {
    DataInputStream input = new DataInputStream(System.in);
    try {
      for (int i = 0; i < samples.capacity(); ++i) {
        samples.put(i, Float.intBitsToFloat(Integer.reverseBytes(input.readInt())));
      }
      return true;
    } catch (EOFException end) {
      return false;
    }
  }
}
