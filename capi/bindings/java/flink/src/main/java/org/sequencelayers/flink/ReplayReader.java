package org.sequencelayers.flink;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.core.io.InputStatus;

/** Plays its sessions in rounds: one block of each, and then a pause up to the next period. */
final class ReplayReader implements SourceReader<AudioBlock, ReplaySplit> {
  private final Path file;
  private final int blockSteps;
  private final long periodNanos;
  private final Deque<ReplaySplit> sessions = new ArrayDeque<>();
  private FloatBuffer recording;
  private boolean complete;
  private int leftInRound;
  private long nextRound;
  private CompletableFuture<Void> available = new CompletableFuture<>();

  ReplayReader(String file, int blockSteps, long periodMicros) {
    this.file = Path.of(file);
    this.blockSteps = blockSteps;
    periodNanos = TimeUnit.MICROSECONDS.toNanos(periodMicros);
  }

  @Override
  public void start() {
    try {
      ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
      recording = bytes.asFloatBuffer();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    nextRound = System.nanoTime();
  }

  @Override
  public InputStatus pollNext(ReaderOutput<AudioBlock> output) {
    if (sessions.isEmpty()) {
      return complete ? InputStatus.END_OF_INPUT : waitFor(new CompletableFuture<>());
    }
    if (leftInRound == 0) {
      long pause = nextRound - System.nanoTime();
      if (pause > 0) {
        Executor later = CompletableFuture.delayedExecutor(pause, TimeUnit.NANOSECONDS);
        return waitFor(CompletableFuture.runAsync(() -> {}, later));
      }
      nextRound += periodNanos;
      leftInRound = sessions.size();
    }
    --leftInRound;
    emit(sessions.remove(), output);
    return InputStatus.MORE_AVAILABLE;
  }

  private InputStatus waitFor(CompletableFuture<Void> future) {
    available = future;
    return InputStatus.NOTHING_AVAILABLE;
  }

  private void emit(ReplaySplit session, ReaderOutput<AudioBlock> output) {
    float[] samples = new float[blockSteps];
    long position = session.start() + session.next() * blockSteps;
    for (int done = 0; done < blockSteps; ) {
      int from = (int) ((position + done) % recording.capacity());
      int count = Math.min(blockSteps - done, recording.capacity() - from);
      recording.get(from, samples, done, count);
      done += count;
    }
    boolean last = session.next() + 1 == session.blocks();
    output.collect(new AudioBlock(session.session(), session.next(), samples, last));
    if (!last) {
      sessions.add(session.advanced());
    }
  }

  @Override
  public List<ReplaySplit> snapshotState(long checkpoint) {
    return List.copyOf(sessions);
  }

  @Override
  public CompletableFuture<Void> isAvailable() {
    return available;
  }

  @Override
  public void addSplits(List<ReplaySplit> splits) {
    sessions.addAll(splits);
    available.complete(null);
  }

  @Override
  public void notifyNoMoreSplits() {
    complete = true;
    available.complete(null);
  }

  @Override
  public void close() {}
}
