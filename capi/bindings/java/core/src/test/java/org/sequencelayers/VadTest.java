package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The golden stream: speech through Silero VAD, against the original in onnxruntime. */
class VadTest {
  private static final int BLOCKS = Vad.EXPECTED.length;
  private static final int SAVE_AT = Vad.PART.get("save_at").getAsInt();

  private static Layer layer;

  @BeforeAll
  static void open() {
    layer = Vad.open();
  }

  @AfterAll
  static void close() {
    layer.close();
  }

  @Test
  void streamsTheGoldenProbabilities() {
    assertEquals(713, BLOCKS);
    try (State state = layer.newState()) {
      float[] probabilities = Vad.run(state, 0, BLOCKS);
      assertArrayEquals(Vad.EXPECTED, probabilities, (float) Vad.TOLERANCE);
      state.reset();
      assertArrayEquals(probabilities, Vad.run(state, 0, BLOCKS));
    }
  }

  @Test
  void runsTheWholeRecordingAtOnce() {
    Sequence x = Sequence.allocate(DType.FLOAT32, 1, Vad.SAMPLES.length);
    x.floats().put(0, Vad.SAMPLES);
    Sequence y = layer.apply(x);
    assertEquals(BLOCKS, y.dim(1));
    for (int i = 0; i < BLOCKS; ++i) {
      assertEquals(1, y.mask().get(i));
      assertEquals(Vad.EXPECTED[i], y.floats().get(i), Vad.TOLERANCE);
    }
  }

  @Test
  void savedLoadedAndForkedStreamsContinueBitForBit() {
    try (State state = layer.newState();
        State loaded = layer.newState();
        State fork = layer.newState()) {
      Vad.run(state, 0, SAVE_AT);
      byte[] saved = state.save();
      ByteBuffer direct = ByteBuffer.allocateDirect(state.saveSize());
      state.save(direct);
      assertEquals(0, direct.remaining());
      assertEquals(ByteBuffer.wrap(saved), direct.flip());
      fork.copyFrom(state);
      float[] unbroken = Vad.run(state, SAVE_AT, BLOCKS);
      assertArrayEquals(Vad.expected(SAVE_AT, BLOCKS), unbroken, (float) Vad.TOLERANCE);
      assertArrayEquals(unbroken, Vad.run(fork, SAVE_AT, BLOCKS));
      loaded.load(saved);
      assertArrayEquals(unbroken, Vad.run(loaded, SAVE_AT, BLOCKS));
      loaded.load(direct);
      assertArrayEquals(unbroken, Vad.run(loaded, SAVE_AT, BLOCKS));
      state.reset();
      assertNotEquals(unbroken[0], Vad.run(state, SAVE_AT, SAVE_AT + 1)[0]);
    }
  }

  @Test
  void anItemOfABatchMovesToAStreamOfItsOwn() {
    try (State pair = layer.newState(new StateOptions().batch(2));
        State single = layer.newState();
        State rest = layer.newState()) {
      Vad.run(single, 0, SAVE_AT);
      pair.copyItemFrom(1, single, 0);
      float[] unbroken = Vad.run(single, SAVE_AT, SAVE_AT + 20);
      rest.copyItemFrom(0, pair, 1);
      assertArrayEquals(unbroken, Vad.run(rest, SAVE_AT, SAVE_AT + 20));
      pair.resetItem(1);
      rest.copyItemFrom(0, pair, 1);
      assertNotEquals(unbroken[0], Vad.run(rest, SAVE_AT, SAVE_AT + 1)[0]);
    }
  }

  @Test
  void aPromptContinuesInSteps() {
    try (State state = layer.newState()) {
      Sequence prompt = Sequence.allocate(DType.FLOAT32, 1, (long) SAVE_AT * Vad.BLOCK);
      prompt.floats().put(0, Vad.SAMPLES, 0, SAVE_AT * Vad.BLOCK);
      Sequence y = layer.newOutput(Mode.STEP, prompt, null);
      state.apply(prompt, y, null, null);
      for (int i = 0; i < SAVE_AT; ++i) {
        assertEquals(Vad.EXPECTED[i], y.floats().get(i), Vad.TOLERANCE);
      }
      float[] expected = Vad.expected(SAVE_AT, BLOCKS);
      assertArrayEquals(expected, Vad.run(state, SAVE_AT, BLOCKS), (float) Vad.TOLERANCE);
    }
  }

  @Test
  void tellsWhatTheModelIs() {
    assertEquals(Optional.of("16000"), layer.metadata("sample_rate"));
    assertEquals(Optional.empty(), layer.metadata("no such key"));
    assertEquals(Vad.BLOCK, layer.blockSize());
    assertEquals(new Ratio(1, Vad.BLOCK), layer.outputRatio());
    assertEquals(0, layer.inputLatency());
    assertEquals(0, layer.outputLatency());
    assertEquals(true, layer.supportsStep());
    assertEquals(ChannelSpec.of(DType.FLOAT32), layer.inputSpec());
    assertEquals(ChannelSpec.of(DType.FLOAT32, 1), layer.outputSpec(layer.inputSpec(), null));
    assertEquals(358657, layer.parameterCount());
    assertEquals(Optional.of(new ReceptiveField(-Long.MAX_VALUE, 511)), layer.receptiveField());
    assertEquals(0, layer.constants().size());
    assertEquals(0, layer.stepDifferences().size());
    String description = layer.describe();
    assertEquals(
        358657,
        com.google.gson.JsonParser.parseString(description)
            .getAsJsonObject()
            .get("parameters")
            .getAsLong(),
        description);
  }

  @Test
  void aCarryCanBeReadAndSet() {
    try (State state = layer.newState();
        State fork = layer.newState()) {
      Vad.run(state, 0, SAVE_AT);
      fork.copyFrom(state);
      Map<String, Sequence> tensors = state.tensors();
      String name =
          tensors.keySet().stream().filter(key -> key.contains("lstm")).findFirst().orElseThrow();
      Sequence carry = tensors.get(name);
      assertNotEquals(0, carry.floats().get(0));
      fork.setTensor(name, Sequence.allocate(carry.dtype(), carry.dims()));
      assertEquals(0, fork.tensors().get(name).floats().get(0));
      float changed = Vad.run(fork, SAVE_AT, SAVE_AT + 1)[0];
      float unchanged = Vad.run(state, SAVE_AT, SAVE_AT + 1)[0];
      assertNotEquals(unchanged, changed);
      assertEquals(Vad.EXPECTED[SAVE_AT], unchanged, Vad.TOLERANCE);
      assertThrows(IllegalArgumentException.class, () -> fork.setTensor("nothing", carry));
      Sequence other = Sequence.allocate(DType.FLOAT32, 1);
      assertThrows(IllegalArgumentException.class, () -> fork.setTensor(name, other));
    }
  }
}
