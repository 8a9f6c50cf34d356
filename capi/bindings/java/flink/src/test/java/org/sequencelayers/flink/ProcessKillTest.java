package org.sequencelayers.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import org.apache.flink.api.common.JobID;
import org.junit.jupiter.api.Test;

/** A task manager that is a process, and is killed as the system kills one: without a warning. */
class ProcessKillTest {
  private static final int SIGKILL_EXIT = 137;
  private static final long PERIOD_MICROS = 120000;
  private static final Duration STEADY = Duration.ofMillis(150);

  @Test
  void losesNothingWithAProcess() throws Exception {
    Report report = new Report("process_kill");
    Sessions sessions = new Sessions();
    Path output = Cluster.clear("process_kill");
    Cluster.clear("checkpoints");
    try (ProcessCluster cluster = new ProcessCluster(Cluster.clear("processes"), 2)) {
      cluster.awaitTaskManagers();
      report.say("two task managers are up, each a process with 2 slots");
      JobID job =
          cluster.submit(Cluster.job(sessions, 4, 1000, PERIOD_MICROS, new Tap("process"), output));
      report.say("the job is submitted: 100 sessions of 50 blocks, parallelism 4");
      Cluster.await("the middle", () -> Cluster.lines(output).size() > sessions.results() / 2);
      // A checkpoint completes the files of one subtask after the other. Results in those that are
      // still to come would not be taken back.
      Cluster.awaitSteady("a whole checkpoint", STEADY, () -> Cluster.lines(output).size());
      // So that there are results after the checkpoint, which the failure takes back.
      Cluster.await("results", () -> Cluster.lines(output, false).size() > 150);
      report.say(
          "%d results are in complete files, %d in others",
          Cluster.lines(output).size(), Cluster.lines(output, false).size());
      assertEquals(SIGKILL_EXIT, cluster.kill(0));
      report.say("task manager 0 is dead by SIGKILL, task manager 2 starts");
      cluster.startTaskManager();
      cluster.join(job);
      long restored = cluster.restoredCheckpoint(job);
      assertTrue(restored > 0);
      int takenBack = Cluster.lines(output, false).size();
      report.say(
          "the job has ended; it went back to checkpoint %d, which left %d results in files that"
              + " never became complete",
          restored, takenBack);
      long survivor = cluster.logged(1, " continues at block");
      long newcomer = cluster.logged(2, " continues at block");
      report.say(
          "sessions continued from their saved states: %d on task manager 1, %d on 2",
          survivor, newcomer);
      assertTrue(takenBack > 0);
      assertEquals(sessions.splits.size(), survivor + newcomer);
      report.compare(sessions.withoutFlink(), Cluster.lines(output));
    }
  }
}
