package org.sequencelayers.flink;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.apache.flink.api.common.JobID;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.runtime.checkpoint.CheckpointStatsSnapshot;
import org.apache.flink.runtime.checkpoint.CompletedCheckpointStats;
import org.apache.flink.runtime.jobgraph.JobGraph;
import org.apache.flink.runtime.jobgraph.SavepointRestoreSettings;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** A cluster of two task managers with two slots each, in this process. */
final class Cluster implements AutoCloseable {
  static final Path DIRECTORY = Path.of(System.getProperty("sequencelayers.output"));
  private static final long CHECKPOINT_MILLIS = 400;
  private static final Duration PATIENCE = Duration.ofMinutes(2);

  private final MiniCluster cluster;

  Cluster() throws Exception {
    Configuration configuration = new Configuration();
    configuration.set(RestOptions.BIND_PORT, "0");
    configuration.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(16));
    configuration.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(32));
    configuration.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(32));
    cluster =
        new MiniCluster(
            new MiniClusterConfiguration.Builder()
                .setConfiguration(configuration)
                .setNumTaskManagers(2)
                .setNumSlotsPerTaskManager(2)
                .build());
    cluster.start();
  }

  /** A job whose results pass through `tap` on their way to files in `output`. */
  static JobGraph job(
      Sessions sessions, int parallelism, int maxLive, long periodMicros, Tap tap, Path output) {
    return job(sessions, parallelism, maxLive, periodMicros, tap, output, CHECKPOINT_MILLIS);
  }

  static JobGraph job(
      Sessions sessions,
      int parallelism,
      int maxLive,
      long periodMicros,
      Tap tap,
      Path output,
      long checkpointMillis) {
    Configuration configuration = new Configuration();
    configuration.set(RestartStrategyOptions.RESTART_STRATEGY, "fixed-delay");
    configuration.set(RestartStrategyOptions.RESTART_STRATEGY_FIXED_DELAY_ATTEMPTS, 50);
    configuration.set(
        RestartStrategyOptions.RESTART_STRATEGY_FIXED_DELAY_DELAY, Duration.ofMillis(500));
    configuration.set(
        CheckpointingOptions.CHECKPOINTS_DIRECTORY,
        DIRECTORY.resolve("checkpoints").toUri().toString());
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.getExecutionEnvironment(configuration);
    environment.setParallelism(parallelism);
    environment.enableCheckpointing(checkpointMillis);
    DataStream<SessionResult> results =
        SessionJob.results(
            SessionJob.replay(environment, sessions.source(periodMicros)),
            sessions.options(maxLive));
    SessionJob.write(results.map(tap).uid("tap"), output.toUri().toString());
    return environment.getStreamGraph().getJobGraph();
  }

  void run(JobGraph job) throws Exception {
    cluster.executeJobBlocking(job);
  }

  JobID submit(JobGraph job, String savepoint) throws Exception {
    if (savepoint != null) {
      job.setSavepointRestoreSettings(SavepointRestoreSettings.forPath(savepoint));
    }
    return cluster.submitJob(job).get().getJobID();
  }

  void join(JobID job) throws Exception {
    cluster.requestJobResult(job).get().toJobExecutionResult(getClass().getClassLoader());
  }

  /** Stops a job with a savepoint, and tells where it is. */
  String stop(JobID job) throws Exception {
    return cluster
        .stopWithSavepoint(
            job,
            DIRECTORY.resolve("savepoints").toUri().toString(),
            false,
            SavepointFormatType.CANONICAL)
        .get();
  }

  /** Ends a task manager with all its tasks, and starts another one. */
  void replaceTaskManager(int index) throws Exception {
    cluster.terminateTaskManager(index).get();
    cluster.startTaskManager();
  }

  CheckpointStatsSnapshot checkpoints(JobID job) throws Exception {
    return cluster.getExecutionGraph(job).get().getCheckpointStatsSnapshot();
  }

  /** Number of the last completed checkpoint; 0 if there is none. */
  long lastCheckpoint(JobID job) throws Exception {
    return Optional.ofNullable(checkpoints(job))
        .map(stats -> stats.getHistory().getLatestCompletedCheckpoint())
        .map(checkpoint -> checkpoint.getCheckpointId())
        .orElse(0L);
  }

  /** Takes a checkpoint now, and tells about it. */
  CompletedCheckpointStats checkpoint(JobID job) throws Exception {
    cluster.triggerCheckpoint(job).get();
    return checkpoints(job).getHistory().getLatestCompletedCheckpoint();
  }

  static void await(String what, Callable<Boolean> condition) throws Exception {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (!condition.call()) {
      if (System.nanoTime() > end) {
        throw new TimeoutException(what);
      }
      Thread.sleep(5);
    }
  }

  /** Waits until a number has been the same for some time. */
  static void awaitSteady(String what, Duration time, Callable<Integer> number) throws Exception {
    int[] last = {number.call()};
    long[] since = {System.nanoTime()};
    await(
        what,
        () -> {
          int now = number.call();
          if (now != last[0]) {
            last[0] = now;
            since[0] = System.nanoTime();
          }
          return System.nanoTime() - since[0] >= time.toNanos();
        });
  }

  /** The directory of that name, empty. */
  static Path clear(String name) throws IOException {
    Path directory = DIRECTORY.resolve(name);
    if (Files.exists(directory)) {
      try (Stream<Path> files = Files.walk(directory)) {
        for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(file);
        }
      }
    }
    return directory;
  }

  /** The lines of all complete files. */
  static List<String> lines(Path output) throws IOException {
    return lines(output, true);
  }

  /**
   * The lines of all files that are complete, or of those that are not: a dot begins their names.
   */
  static List<String> lines(Path output, boolean complete) throws IOException {
    List<String> lines = new ArrayList<>();
    for (Path file : files(output.toFile())) {
      if (file.getFileName().toString().startsWith(".") != complete) {
        lines.addAll(read(file));
      }
    }
    return lines;
  }

  /** All files below a directory, also while the sink renames some, at which Files.walk fails. */
  private static List<Path> files(File directory) {
    List<Path> found = new ArrayList<>();
    File[] entries = directory.listFiles();
    for (File entry : entries == null ? new File[0] : entries) {
      if (entry.isDirectory()) {
        found.addAll(files(entry));
      } else {
        found.add(entry.toPath());
      }
    }
    return found;
  }

  private static List<String> read(Path file) throws IOException {
    try {
      return Files.readAllLines(file);
    } catch (NoSuchFileException renamed) {
      return List.of(); // it was completed meanwhile
    }
  }

  @Override
  public void close() {
    cluster.closeAsync().join();
  }
}
