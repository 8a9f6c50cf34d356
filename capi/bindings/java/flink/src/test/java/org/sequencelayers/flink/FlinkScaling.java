package org.sequencelayers.flink;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.checkpoint.CompletedCheckpointStats;

/** Measures what Flink adds to the steps, and how large and long its checkpoints are. */
final class FlinkScaling {
  private static final int WARM_UP_BLOCKS = 100;
  // No checkpoint but the one that is asked for, when all sessions are alive.
  private static final long IDLE_MILLIS = 600000;

  private FlinkScaling() {}

  static void print(Sessions vad, PrintStream out) throws Exception {
    out.println(
        "| Sessions in Flink | Processor time of a block | Sessions a core | Checkpoint | Its duration |");
    out.println("|---|---|---|---|---|");
    try (Cluster cluster = new Cluster()) {
      run(cluster, vad, 100, WARM_UP_BLOCKS, null);
      run(cluster, vad, 1000, 150, out);
      run(cluster, vad, 10000, 20, out);
    }
  }

  /** Runs sessions as fast as can be on one subtask, and prints a row. */
  private static void run(Cluster cluster, Sessions vad, int count, int blocks, PrintStream out)
      throws Exception {
    List<ReplaySplit> splits = new ArrayList<>();
    for (int i = 0; i < count; ++i) {
      ReplaySplit like = vad.splits.get(i % vad.splits.size());
      splits.add(new ReplaySplit("session-" + i, like.start(), blocks, 0));
    }
    Sessions sessions = vad.with(splits);
    Path output = Cluster.clear("scaling");
    Tap tap = new Tap("scaling" + count);
    double results = (double) count * blocks;
    JobID job = cluster.submit(Cluster.job(sessions, 1, count, 0, tap, output, IDLE_MILLIS), null);
    Cluster.await("all sessions", () -> tap.counts().passed.get() > results / 4);
    int first = tap.counts().passed.get();
    double start = Scaling.processSeconds();
    CompletedCheckpointStats checkpoint = cluster.checkpoint(job);
    Cluster.await("the end", () -> tap.counts().passed.get() > results * 0.9);
    double seconds = Scaling.processSeconds() - start;
    seconds /= tap.counts().passed.get() - first;
    cluster.join(job);
    if (out != null) {
      out.printf(
          "| %,d | %s | %s | %s | %d ms |%n",
          count,
          Scaling.micros(seconds),
          Scaling.number(vad.block / 16e3 / seconds),
          Scaling.size(checkpoint.getStateSize()),
          checkpoint.getEndToEndDuration());
    }
  }
}
