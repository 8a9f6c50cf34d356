package org.sequencelayers.flink;

import java.io.Serial;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.core.io.SimpleVersionedSerializer;

/**
 * Plays a recording as many sessions at once, each from another position, and begins it anew at its
 * end. It stands where a message queue would: its positions are part of every checkpoint, and after
 * a failure it goes back to them.
 */
public final class ReplaySource implements Source<AudioBlock, ReplaySplit, List<ReplaySplit>> {
  @Serial private static final long serialVersionUID = 1;

  private final String file;
  private final int blockSteps;
  private final long periodMicros;
  private final ArrayList<ReplaySplit> sessions;

  /**
   * Makes a source.
   *
   * @param file raw float32 samples, little-endian, one channel
   * @param blockSteps samples of each block
   * @param periodMicros time between two blocks of a session; 0: as fast as can be
   * @param sessions which parts of the recording are played
   */
  public ReplaySource(
      String file, int blockSteps, long periodMicros, Collection<ReplaySplit> sessions) {
    this.file = file;
    this.blockSteps = blockSteps;
    this.periodMicros = periodMicros;
    this.sessions = new ArrayList<>(sessions);
  }

  @Override
  public Boundedness getBoundedness() {
    // A finite stream of live audio, which wants checkpoints.
    return Boundedness.CONTINUOUS_UNBOUNDED;
  }

  @Override
  public SourceReader<AudioBlock, ReplaySplit> createReader(SourceReaderContext context) {
    return new ReplayReader(file, blockSteps, periodMicros);
  }

  @Override
  public SplitEnumerator<ReplaySplit, List<ReplaySplit>> createEnumerator(
      SplitEnumeratorContext<ReplaySplit> context) {
    return new Enumerator(context, sessions);
  }

  @Override
  public SplitEnumerator<ReplaySplit, List<ReplaySplit>> restoreEnumerator(
      SplitEnumeratorContext<ReplaySplit> context, List<ReplaySplit> unassigned) {
    return new Enumerator(context, unassigned);
  }

  @Override
  public SimpleVersionedSerializer<ReplaySplit> getSplitSerializer() {
    return new ReplaySplit.Serializer();
  }

  @Override
  public SimpleVersionedSerializer<List<ReplaySplit>> getEnumeratorCheckpointSerializer() {
    return new ReplaySplit.ListSerializer();
  }

  /** Gives each reader its share of the sessions when it comes, and nothing later. */
  private static final class Enumerator implements SplitEnumerator<ReplaySplit, List<ReplaySplit>> {
    private final SplitEnumeratorContext<ReplaySplit> context;
    private final ArrayDeque<ReplaySplit> unassigned;

    Enumerator(SplitEnumeratorContext<ReplaySplit> context, Collection<ReplaySplit> sessions) {
      this.context = context;
      unassigned = new ArrayDeque<>(sessions);
    }

    @Override
    public void start() {}

    @Override
    public void addReader(int subtask) {
      int readersToCome = context.currentParallelism() - context.registeredReaders().size() + 1;
      int share = (unassigned.size() + readersToCome - 1) / Math.max(readersToCome, 1);
      for (int i = 0; i < share; ++i) {
        context.assignSplit(unassigned.remove(), subtask);
      }
      context.signalNoMoreSplits(subtask);
    }

    @Override
    public void addSplitsBack(List<ReplaySplit> splits, int subtask) {
      unassigned.addAll(splits);
    }

    @Override
    public void handleSplitRequest(int subtask, String host) {}

    @Override
    public List<ReplaySplit> snapshotState(long checkpoint) {
      return List.copyOf(unassigned);
    }

    @Override
    public void close() {}
  }
}
