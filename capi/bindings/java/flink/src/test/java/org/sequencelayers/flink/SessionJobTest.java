package org.sequencelayers.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.checkpoint.CheckpointStatsSnapshot;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** A hundred sessions on a cluster that loses a task manager, or changes its parallelism. */
class SessionJobTest {
  private static final int ALL_LIVE = 1000;
  // One block of each session in this time: about four seconds in all.
  private static final long PERIOD_MICROS = 80000;

  private static Cluster cluster;
  private static Sessions sessions;
  private static List<String> unbroken;

  @BeforeAll
  static void runUnbroken() throws Exception {
    Cluster.clear("checkpoints");
    cluster = new Cluster();
    sessions = new Sessions();
    Path output = Cluster.clear("unbroken");
    Tap tap = new Tap("unbroken");
    cluster.run(Cluster.job(sessions, 4, ALL_LIVE, 0, tap, output));
    unbroken = Cluster.lines(output);
    assertEquals(sessions.results(), tap.counts().passed.get());
  }

  @AfterAll
  static void stop() throws Exception {
    cluster.close();
  }

  @Test
  void givesWhatTheModelGivesWithoutFlink() throws Exception {
    assertEquals(5000, unbroken.size());
    new Report("unbroken").compare(sessions.withoutFlink(), unbroken);
  }

  @Test
  void theProgramPlaysARecordingIntoFiles() throws Exception {
    Path output = Cluster.clear("program");
    String arguments =
        "--model %s --recording %s --output %s --sessions 4 --blocks 20 --block-steps %d"
            .formatted(sessions.model, sessions.recording, output.toUri(), sessions.block);
    SessionJob.main(arguments.split(" "));
    List<ReplaySplit> splits = new ArrayList<>();
    for (int i = 0; i < 4; ++i) {
      splits.add(new ReplaySplit("session-" + i, (long) i * sessions.block, 20, 0));
    }
    List<String> expected = sessions.with(splits).withoutFlink();
    assertEquals(80, expected.size());
    new Report("program").compare(expected, Cluster.lines(output));
  }

  @Test
  void sessionsBeyondTheMaximumWaitInKeyedState() throws Exception {
    Path output = Cluster.clear("evicted");
    cluster.run(Cluster.job(sessions, 4, 3, 0, new Tap("evicted"), output));
    new Report("evicted").compare(unbroken, Cluster.lines(output));
  }

  @Test
  void losesNothingWithATaskManager() throws Exception {
    Report report = new Report("kill");
    Path output = Cluster.clear("kill");
    Tap tap = new Tap("kill");
    report.say("100 sessions of 50 blocks, 2 task managers with 2 slots, parallelism 4");
    JobID job =
        cluster.submit(Cluster.job(sessions, 4, ALL_LIVE, PERIOD_MICROS, tap, output), null);
    Cluster.await("the middle", () -> tap.counts().passed.get() > sessions.results() / 2);
    long middle = cluster.lastCheckpoint(job);
    Cluster.await("a checkpoint", () -> cluster.lastCheckpoint(job) > middle);
    int atCheckpoint = tap.counts().passed.get();
    // So that there are results after the checkpoint, which the failure takes back.
    Cluster.await("results", () -> tap.counts().passed.get() > atCheckpoint + 150);
    report.say(
        "checkpoint %d is complete; %d results were made, %d of them are in complete files",
        cluster.lastCheckpoint(job), tap.counts().passed.get(), Cluster.lines(output).size());
    cluster.replaceTaskManager(0);
    int made = tap.counts().passed.get();
    report.say("task manager 0 is dead after %d results, another one starts", made);
    cluster.join(job);
    CheckpointStatsSnapshot stats = cluster.checkpoints(job);
    assertNotNull(stats.getLatestRestoredCheckpoint());
    int again = tap.counts().passed.get() - sessions.results();
    report.say(
        "job has ended; it went back to checkpoint %d and made %d results again",
        stats.getLatestRestoredCheckpoint().getCheckpointId(), again);
    assertTrue(again > 0);
    report.compare(unbroken, Cluster.lines(output));
  }

  @Test
  void sessionsMoveWhenTheParallelismChanges() throws Exception {
    Report report = new Report("rescale");
    Path output = Cluster.clear("rescale");
    Cluster.clear("savepoints");
    Tap before = new Tap("before");
    JobID job =
        cluster.submit(Cluster.job(sessions, 2, ALL_LIVE, PERIOD_MICROS, before, output), null);
    Cluster.await("the middle", () -> before.counts().passed.get() > sessions.results() / 2);
    String savepoint = cluster.stop(job);
    cluster.join(job);
    // A subtask may still make results behind the savepoint's barrier. Those stay in files that are
    // never completed, and are made again from the savepoint.
    int made = before.counts().passed.get();
    int kept = Cluster.lines(output).size();
    report.say(
        "parallelism 2: stopped with a savepoint after %d results, %d of them before its barrier",
        made, kept);
    assertTrue(kept > 0 && kept <= made);
    Tap after = new Tap("after");
    job = cluster.submit(Cluster.job(sessions, 3, ALL_LIVE, 0, after, output), savepoint);
    cluster.join(job);
    report.say(
        "parallelism 3: continued and ended after %d more; %d of 100 sessions had moved to another"
            + " subtask",
        after.counts().passed.get(), moved(before, after).size());
    assertEquals(sessions.results(), kept + after.counts().passed.get());
    assertTrue(moved(before, after).size() > 10);
    report.compare(unbroken, Cluster.lines(output));
  }

  private static Set<String> moved(Tap before, Tap after) {
    Map<String, Set<Integer>> old = before.counts().subtasks;
    Set<String> moved = new HashSet<>();
    after
        .counts()
        .subtasks
        .forEach(
            (session, subtasks) -> {
              assertEquals(1, subtasks.size(), session);
              if (!subtasks.equals(old.get(session))) {
                moved.add(session);
              }
            });
    return moved;
  }
}
