package org.sequencelayers.flink;

import java.io.Serial;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;

/**
 * Counts the results that pass, also those that a failure takes back, and remembers which subtask
 * made those of each session. All instances of a name share their counts, in this process.
 */
final class Tap extends RichMapFunction<SessionResult, SessionResult> {
  @Serial private static final long serialVersionUID = 1;
  private static final Map<String, Counts> COUNTS = new ConcurrentHashMap<>();

  private final String name;
  private transient Counts counts;
  private transient int subtask;

  Tap(String name) {
    this.name = name;
  }

  Counts counts() {
    return COUNTS.computeIfAbsent(name, n -> new Counts());
  }

  @Override
  public void open(OpenContext context) {
    counts = counts();
    subtask = getRuntimeContext().getTaskInfo().getIndexOfThisSubtask();
  }

  @Override
  public SessionResult map(SessionResult result) {
    counts.passed.incrementAndGet();
    counts
        .subtasks
        .computeIfAbsent(result.session, s -> ConcurrentHashMap.newKeySet())
        .add(subtask);
    return result;
  }

  /** Counts of the results that passed. */
  static final class Counts {
    final AtomicInteger passed = new AtomicInteger();
    final Map<String, Set<Integer>> subtasks = new ConcurrentHashMap<>();
  }
}
