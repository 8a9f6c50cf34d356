package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.api.Test;

/** Who frees what and when, which thread may call, and what a step costs in memory. */
class HandlesTest {
  @Test
  void aClosedLayerLivesOnInItsStates() {
    Layer layer = Vad.open();
    State state = layer.newState();
    layer.close();
    layer.close();
    assertThrows(IllegalStateException.class, layer::blockSize);
    assertThrows(IllegalStateException.class, layer::newState);
    Sequence x = Sequence.allocate(DType.FLOAT32, 1, Vad.BLOCK);
    x.floats().put(0, Vad.SAMPLES, 0, Vad.BLOCK);
    Sequence y = Sequence.allocate(DType.FLOAT32, 1, 1, 1);
    state.step(x, y);
    assertEquals(Vad.EXPECTED[0], y.floats().get(0), Vad.TOLERANCE);
    state.close();
    state.close();
    assertThrows(IllegalStateException.class, () -> state.step(x, y));
    assertThrows(IllegalStateException.class, state::save);
  }

  @Test
  void whatIsForgottenIsFreed() throws Exception {
    long before = Handle.live();
    for (int i = 0; i < 20; ++i) {
      Vad.open().newState();
    }
    assertEquals(before + 40, Handle.live());
    for (int i = 0; i < 100 && Handle.live() > before; ++i) {
      System.gc();
      Thread.sleep(20);
    }
    assertTrue(Handle.live() <= before, Handle.live() + " live handles");
  }

  @Test
  void aSecondThreadIsRefused() throws Exception {
    CountDownLatch inside = new CountDownLatch(1);
    CountDownLatch leave = new CountDownLatch(1);
    try (Registry registry = new Registry()) {
      registry.add("Wait", (config, weights) -> new Wait(inside, leave));
      Layer layer =
          Layer.create("{\"type\": \"Wait\"}", null, new LayerOptions().registry(registry));
      State state = layer.newState(new StateOptions().input(ChannelSpec.of(DType.FLOAT32)));
      Sequence x = Sequence.allocate(DType.FLOAT32, 1, 1);
      x.floats().put(0, 1);
      Sequence y = Sequence.allocate(DType.FLOAT32, 1, 1);
      FutureTask<Void> step = new FutureTask<>(() -> state.step(x, y), null);
      new Thread(step).start();
      inside.await();
      assertThrows(IllegalStateException.class, () -> state.step(x, y));
      assertThrows(IllegalStateException.class, state::close);
      leave.countDown();
      step.get();
      state.step(x, y);
      state.close();
      layer.close();
    }
  }

  /** Waits inside of a step on something other than the zeros of a rehearsal. */
  private record Wait(CountDownLatch inside, CountDownLatch leave) implements CustomLayer {
    @Override
    public void layer(Sequence x, Sequence y) {
      if (x.floats().get(0) == 0) {
        return;
      }
      inside.countDown();
      try {
        leave.await();
      } catch (InterruptedException interrupted) {
        throw new IllegalStateException(interrupted);
      }
    }
  }

  @Test
  void stepsAllocateNothing() {
    com.sun.management.ThreadMXBean threads =
        (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (Layer layer = Vad.open();
        State state = layer.newState();
        State pair = layer.newState(new StateOptions().batch(2))) {
      Stepper stepper = state.stepper(Vad.BLOCK);
      Stepper slots = pair.stepper(Vad.BLOCK);
      long[] second = {1};
      Sequence x = stepper.input();
      Sequence y = stepper.output();
      for (int warm = 0; warm < 2; ++warm) {
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < 1000; ++i) {
          stepper.step();
          state.step(x, y);
          slots.stepSlots(second);
          pair.stepSlots(second, x, y);
        }
        long allocated = threads.getCurrentThreadAllocatedBytes() - before;
        if (warm == 1) {
          assertTrue(allocated < 1000, allocated + " bytes in 4000 steps");
        }
      }
    }
  }

  @Test
  void buffersAreUsedInPlaceFromTheirPosition() {
    ByteBuffer memory = ByteBuffer.allocateDirect(8 * Float.BYTES);
    FloatBuffer floats = memory.order(java.nio.ByteOrder.nativeOrder()).asFloatBuffer();
    Sequence x = Sequence.of(floats.position(2), 1, 2);
    floats.put(2, 1.5f).put(3, 2.5f);
    try (Layer layer =
        Layer.create("{\"type\": \"Scale\", \"scale\": 2.0}", null, new LayerOptions())) {
      Sequence y = layer.apply(x);
      assertArrayEquals(new float[] {3, 5}, new float[] {y.floats().get(0), y.floats().get(1)});
    }
    assertThrows(IllegalArgumentException.class, () -> Sequence.of(floats, 1, 7));
    assertThrows(IllegalArgumentException.class, () -> Sequence.of(FloatBuffer.allocate(2), 1, 2));
    assertThrows(
        IllegalArgumentException.class,
        () -> Sequence.of(ByteBuffer.allocateDirect(8).asFloatBuffer(), 1, 2));
    assertThrows(IllegalArgumentException.class, () -> Sequence.allocate(DType.FLOAT32, 1, -1));
    assertThrows(IllegalStateException.class, x::ints);
  }
}
