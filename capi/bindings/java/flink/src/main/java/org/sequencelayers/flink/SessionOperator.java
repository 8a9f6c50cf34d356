package org.sequencelayers.flink;

import java.io.Serial;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.sequencelayers.Layer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Steps the model of each session, which is the key.
 *
 * <p>The stream of a session is a native {@code sl_state} while it is in use, and not serialized
 * for each element. At a checkpoint, those that have stepped since the last one are saved into the
 * keyed state. A function could not do so, since it may touch the state of its current key alone;
 * an operator may set the key. Flink calls {@link #snapshotState} between two elements and before
 * it takes its snapshot of the keyed state, so that the saved bytes stand exactly at the barrier:
 * after a failure the source goes back to the same barrier, and each block is counted once.
 */
final class SessionOperator extends AbstractStreamOperator<SessionResult>
    implements OneInputStreamOperator<AudioBlock, SessionResult> {
  @Serial private static final long serialVersionUID = 1;
  private static final Logger LOG = LoggerFactory.getLogger(SessionOperator.class);

  private final SessionOptions options;
  private transient ValueState<byte[]> saved;
  private transient Layer layer;
  // Least recently used first.
  private transient Map<String, LiveSession> live;
  // States of sessions that have ended, to be used again: making one costs a rehearsal.
  private transient Deque<LiveSession> idle;

  SessionOperator(SessionOptions options) {
    this.options = options;
  }

  @Override
  public void open() throws Exception {
    super.open();
    saved =
        getRuntimeContext()
            .getState(
                new ValueStateDescriptor<>(
                    "sl_state", PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
    layer = Models.acquire(options.modelDirectory());
    live = new LinkedHashMap<>(16, 0.75f, true);
    idle = new ArrayDeque<>();
  }

  @Override
  public void processElement(StreamRecord<AudioBlock> element) throws Exception {
    AudioBlock block = element.getValue();
    LiveSession session = live.get(block.session);
    if (session == null) {
      session = wake(block);
    }
    float[] values = session.step(block.samples);
    output.collect(element.replace(new SessionResult(block.session, block.index, values)));
    if (block.last) {
      live.remove(block.session);
      idle.push(session);
      saved.clear();
    }
  }

  /** A native state for the session of the current key, where its saved bytes say. */
  private LiveSession wake(AudioBlock block) throws Exception {
    if (live.size() >= options.maxLiveSessions()) {
      evict();
    }
    LiveSession session = idle.isEmpty() ? new LiveSession(layer, options) : idle.pop();
    byte[] bytes = saved.value();
    session.start(bytes);
    live.put(block.session, session);
    LOG.debug(
        "session {} {} at block {}",
        block.session,
        bytes == null ? "begins" : "continues",
        block.index);
    return session;
  }

  /** Saves the session that was not used for longest, and frees its native state for another. */
  private void evict() throws Exception {
    Iterator<Map.Entry<String, LiveSession>> sessions = live.entrySet().iterator();
    Map.Entry<String, LiveSession> eldest = sessions.next();
    Object key = getCurrentKey();
    save(eldest.getKey(), eldest.getValue());
    setCurrentKey(key);
    sessions.remove();
    idle.push(eldest.getValue());
  }

  private void save(String key, LiveSession session) throws Exception {
    if (session.isChanged()) {
      setCurrentKey(key);
      saved.update(session.save());
    }
  }

  @Override
  public void snapshotState(StateSnapshotContext context) throws Exception {
    super.snapshotState(context);
    Object key = getCurrentKey();
    for (Map.Entry<String, LiveSession> session : live.entrySet()) {
      save(session.getKey(), session.getValue());
    }
    setCurrentKey(key);
  }

  @Override
  public void close() throws Exception {
    if (layer != null) {
      live.values().forEach(LiveSession::close);
      idle.forEach(LiveSession::close);
      Models.release(options.modelDirectory());
      layer = null;
    }
    super.close();
  }
}
