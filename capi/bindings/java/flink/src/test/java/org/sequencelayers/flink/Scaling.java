package org.sequencelayers.flink;

import java.io.IOException;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import org.sequencelayers.Layer;
import org.sequencelayers.State;
import org.sequencelayers.StateOptions;
import org.sequencelayers.Stepper;

/**
 * Measures the tables of docs/scaling.md: sessions a core, memory a session, and what Flink adds.
 * All times are of the processor, so that other programs on the machine change them little.
 */
final class Scaling {
  private static final double SECONDS = 2;
  private static final int WINDOWS = 4;
  private static final PrintStream OUT = System.out;

  private Scaling() {}

  /**
   * Prints the tables.
   *
   * @param arguments directory of the conformer
   */
  public static void main(String[] arguments) throws Exception {
    Locale.setDefault(Locale.ROOT);
    Sessions vad = new Sessions();
    OUT.println(
        "| Model | Sessions | Batch | Audio of a step | Time of a step | Sessions a core | Memory a"
            + " session | Saved | Save and load |");
    OUT.println("|---|---|---|---|---|---|---|---|---|");
    try (Layer layer = Layer.open(Path.of(vad.model))) {
      Model model = new Model("Silero VAD", layer, 32);
      for (int sessions : new int[] {1, 100, 1000, 10000}) {
        model.measure(sessions, 1, 1);
      }
      model.measure(16, 16, 1);
      model.measure(1024, 64, 1);
    }
    try (Layer layer = Layer.open(Path.of(arguments[0]))) {
      Model model = new Model("causal_conformer", layer, 40);
      model.measure(1, 1, 1);
      model.measure(1, 1, 8);
      model.measure(4, 4, 8);
      model.measure(8, 8, 8);
    }
    OUT.println();
    FlinkScaling.print(vad, OUT);
  }

  /** A model, and the audio of one of its blocks. */
  private record Model(String name, Layer layer, int blockMillis) {
    /** Prints a row: all sessions step in turn, in states of `batch` each. */
    void measure(int sessions, int batch, int blocks) throws IOException {
      stream(batch, blocks).close();
      long before = residentBytes();
      List<Stream> streams = new ArrayList<>();
      for (int i = 0; i < sessions / batch; ++i) {
        streams.add(stream(batch, blocks));
      }
      double seconds = stepSeconds(streams);
      double memory = residentBytes() - before;
      State state = streams.get(0).state();
      OUT.printf(
          "| %s | %,d | %d | %d ms | %s | %s | %s | %s | %s |%n",
          name,
          sessions,
          batch,
          blockMillis * blocks,
          micros(seconds),
          number(batch * blocks * blockMillis * 1e-3 / seconds),
          // A few small states fit into memory that the process already had.
          sessions >= 1000 || state.saveSize() > 1 << 20 ? size(memory / sessions) : "",
          size((double) state.saveSize() / batch),
          micros(saveAndLoadSeconds(state) / batch));
      streams.forEach(Stream::close);
    }

    /** A stream that has stepped once. */
    private Stream stream(int batch, int blocks) {
      long steps = blocks * layer.blockSize();
      State state = layer.newState(new StateOptions().batch(batch).maxSteps(steps));
      Stepper stepper = state.stepper(steps);
      Random random = new Random(1);
      for (int i = 0; i < stepper.input().floats().capacity(); ++i) {
        stepper.input().floats().put(i, (float) random.nextGaussian() / 10);
      }
      stepper.step();
      return new Stream(state, stepper);
    }
  }

  private record Stream(State state, Stepper stepper) implements AutoCloseable {
    @Override
    public void close() {
      state.close();
    }
  }

  /** Processor time of a step, in the best of some windows. */
  private static double stepSeconds(List<Stream> streams) {
    double least = Double.POSITIVE_INFINITY;
    for (int window = 0; window < WINDOWS; ++window) {
      long steps = 0;
      double start = threadSeconds();
      double seconds;
      do {
        for (Stream stream : streams) {
          stream.stepper().step();
        }
        steps += streams.size();
        seconds = threadSeconds() - start;
      } while (seconds < SECONDS / WINDOWS);
      least = Math.min(least, seconds / steps);
    }
    return least;
  }

  private static double saveAndLoadSeconds(State state) {
    ByteBuffer bytes = ByteBuffer.allocateDirect(state.saveSize());
    double start = threadSeconds();
    double seconds;
    int count = 0;
    do {
      state.save(bytes.clear());
      state.load(bytes.flip());
      ++count;
      seconds = threadSeconds() - start;
    } while (seconds < SECONDS / 10);
    return seconds / count;
  }

  private static double threadSeconds() {
    return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() * 1e-9;
  }

  static double processSeconds() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
            .getProcessCpuTime()
        * 1e-9;
  }

  private static long residentBytes() throws IOException {
    String pages = Files.readString(Path.of("/proc/self/statm")).split(" ")[1];
    return Long.parseLong(pages) * 4096;
  }

  /** A number of sessions, to three digits. */
  static String number(double number) {
    return String.format(number < 10 ? "%.2f" : "%,.0f", number);
  }

  static String micros(double seconds) {
    return seconds < 1e-3
        ? String.format("%.3g us", seconds * 1e6)
        : String.format("%.3g ms", seconds * 1e3);
  }

  static String size(double bytes) {
    return bytes < 1 << 20
        ? String.format("%.1f KiB", bytes / 1024)
        : String.format("%.1f MiB", bytes / (1 << 20));
  }
}
