package org.sequencelayers.flink;

import java.nio.ByteBuffer;
import org.sequencelayers.Layer;
import org.sequencelayers.State;
import org.sequencelayers.StateOptions;
import org.sequencelayers.Stepper;

/** The native state of a session, with its buffers. */
final class LiveSession implements AutoCloseable {
  private final State state;
  private final Stepper stepper;
  private final ByteBuffer bytes;
  private boolean changed;

  LiveSession(Layer layer, SessionOptions options) {
    state = layer.newState(new StateOptions().maxSteps(options.blockSteps()));
    stepper = state.stepper(options.blockSteps());
    bytes = ByteBuffer.allocateDirect(state.saveSize());
  }

  /** Begins a session, or continues the one that was saved. */
  void start(byte[] saved) {
    if (saved == null) {
      state.reset();
    } else {
      state.load(bytes.clear().put(saved).flip());
    }
    changed = false;
  }

  float[] step(float[] samples) {
    stepper.input().floats().put(0, samples);
    stepper.step();
    changed = true;
    float[] values = new float[stepper.output().floats().capacity()];
    stepper.output().floats().get(0, values);
    return values;
  }

  /** Whether it has stepped since it was last saved or started. */
  boolean isChanged() {
    return changed;
  }

  /** New bytes each time: Flink writes those of a checkpoint while the next ones are made. */
  byte[] save() {
    state.save(bytes.clear());
    byte[] saved = new byte[bytes.flip().remaining()];
    bytes.get(saved);
    changed = false;
    return saved;
  }

  @Override
  public void close() {
    state.close();
  }
}
