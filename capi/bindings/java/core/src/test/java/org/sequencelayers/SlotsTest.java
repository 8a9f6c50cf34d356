package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Streams in the slots of states: the scripts of packaging/bindings/README.md. */
class SlotsTest {
  private interface Step {
    void run(int state, JsonObject call, String what);
  }

  /** A script, and what its streams give alone. */
  private static final class Case implements AutoCloseable {
    final JsonObject part;
    final String name;
    final int block;
    final Layer layer;
    final Sequence x;
    final Sequence expected;
    final List<State> states = new ArrayList<>();
    // By stream and block.
    final List<List<Sequence>> alone = new ArrayList<>();

    Case(JsonObject part) {
      this.part = part;
      name = part.get("name").getAsString();
      block = part.get("block").getAsInt();
      layer = Layer.open(Suite.model(part));
      x = Suite.sequence(part, "input");
      expected = Suite.sequence(part, "expected");
      for (int stream = 0; stream < x.dim(0); ++stream) {
        alone.add(runAlone(stream));
      }
      for (long batch : Suite.longs(part, "batches")) {
        states.add(state((int) batch));
      }
    }

    private List<Sequence> runAlone(int stream) {
      List<Sequence> made = new ArrayList<>();
      try (State state = state(1)) {
        for (int i = 0; i < x.dim(1) / block; ++i) {
          long[] streams = {stream};
          long[] blocks = {i};
          Constants constants = constants(streams, blocks);
          Sequence in = items(x, streams, blocks, block);
          Sequence out = layer.newOutput(Mode.STEP, in, constants);
          state.step(in, out, constants, null);
          made.add(out);
        }
      }
      return made;
    }

    /** The constants that go with a step. */
    Constants constants(long[] streams, long[] blocks) {
      Map<String, Sequence> values = new TreeMap<>();
      for (JsonElement element : part.getAsJsonArray("constants")) {
        JsonObject constant = element.getAsJsonObject();
        Sequence value = Suite.constant(constant);
        int length = constant.get("streamed").getAsBoolean() ? block : (int) value.dim(1);
        values.put(constant.get("name").getAsString(), items(value, streams, blocks, length));
      }
      return Constants.of(values);
    }

    State state(int batch) {
      ChannelSpec input = ChannelSpec.of(DType.FLOAT32, Suite.longs(part, "channel_shape"));
      Constants constants = constants(new long[batch], new long[batch]);
      return layer.newState(new StateOptions().batch(batch).input(input).constants(constants));
    }

    /** Compares what a step gave with what each stream gives alone, and with what was recorded. */
    void check(JsonObject call, Sequence y, String what) {
      long[] streams = Suite.longs(call, "streams");
      long[] blocks = Suite.longs(call, "blocks");
      int time = (int) y.dim(1);
      for (int i = 0; i < streams.length; ++i) {
        String where = what + ": item " + i + ", stream " + streams[i] + ", block " + blocks[i];
        Sequence found = items(y, new long[] {i}, new long[1], time);
        Sequence own = alone.get((int) streams[i]).get((int) blocks[i]);
        Compare.whole(own, found, 0, where);
        int begin = (int) blocks[i] * time;
        Sequence recorded = Suite.steps(expected, begin, begin + time);
        recorded = items(recorded, new long[] {streams[i]}, new long[1], time);
        Compare.whole(recorded, found, part.get("tolerance").getAsDouble(), where);
      }
    }

    void run(Step step) {
      int index = 0;
      for (JsonElement element : part.getAsJsonArray("script")) {
        JsonObject call = element.getAsJsonObject();
        int number = call.get("state").getAsInt();
        State state = states.get(number);
        switch (call.get("call").getAsString()) {
          case "reset" -> state.resetItem(number(call, "slot"));
          case "step" -> step.run(number, call, name + ", call " + index);
          case "copy" ->
              state.copyItemFrom(number(call, "slot"), source(call), number(call, "from_slot"));
          case "load" ->
              state.loadItem(
                  number(call, "slot"), source(call).saveItem(number(call, "from_slot")));
          default -> throw new AssertionError(call.toString());
        }
        ++index;
      }
    }

    private State source(JsonObject call) {
      return states.get((int) number(call, "from_state"));
    }

    @Override
    public void close() {
      states.forEach(State::close);
      layer.close();
    }
  }

  private static long number(JsonObject call, String key) {
    return call.get(key).getAsLong();
  }

  /**
   * A copy of what goes with a step: of `streams[i]` the block `blocks[i]`; all of an array, and of
   * a sequence that is as long as a block.
   */
  private static Sequence items(Sequence source, long[] streams, long[] blocks, int block) {
    long[] dims = source.dims();
    int row = (int) Arrays.stream(dims).skip(1).reduce(1, (a, b) -> a * b);
    dims[0] = streams.length;
    if (source.isArray()) {
      Sequence out = Sequence.allocate(source.dtype(), dims).asArray();
      for (int i = 0; i < streams.length; ++i) {
        out.floats().put(i * row, source.floats(), (int) streams[i] * row, row);
      }
      return out;
    }
    int time = (int) dims[1];
    dims[1] = block;
    int size = row / time;
    Sequence out = Sequence.allocate(source.dtype(), dims).withMask();
    for (int i = 0; i < streams.length; ++i) {
      int begin = (int) streams[i] * time + (block < time ? (int) blocks[i] * block : 0);
      out.floats().put(i * block * size, source.floats(), begin * size, block * size);
      out.mask().put(i * block, source.mask(), begin, block);
    }
    return out;
  }

  private static List<JsonObject> cases() {
    List<JsonObject> found = new ArrayList<>();
    Suite.list("slots").forEach(element -> found.add(element.getAsJsonObject()));
    assertEquals(2, found.size());
    return found;
  }

  @Test
  void slotsGiveWhatStreamsGiveAlone() {
    for (JsonObject part : cases()) {
      try (Case given = new Case(part)) {
        given.run(
            (state, call, what) -> {
              long[] streams = Suite.longs(call, "streams");
              long[] blocks = Suite.longs(call, "blocks");
              Sequence x = items(given.x, streams, blocks, given.block);
              Constants constants = given.constants(streams, blocks);
              Sequence y = given.layer.newOutput(Mode.STEP, x, constants);
              long[] slots = Suite.longs(call, "slots");
              given.states.get(state).stepSlots(slots, x, y, constants, null);
              given.check(call, y, what);
            });
      }
    }
  }

  /** A stepper, and the buffers that it reads and writes. */
  private record Buffers(Stepper stepper, Constants constants, Emits emits) {
    static Buffers of(Case given, State state) {
      long[] zeros = new long[state.batch()];
      Constants constants = given.constants(zeros, zeros);
      Sequence x = items(given.x, zeros, zeros, given.block);
      Sequence y = given.layer.newOutput(Mode.STEP, x, constants);
      Emits emits = state.newEmits(x, path -> path.endsWith("encoded"));
      return new Buffers(state.stepper(x, y, constants, emits), constants, emits);
    }

    void step(Case given, JsonObject call) {
      long[] streams = Suite.longs(call, "streams");
      long[] blocks = Suite.longs(call, "blocks");
      Suite.copy(items(given.x, streams, blocks, given.block), stepper.input());
      given
          .constants(streams, blocks)
          .values()
          .forEach((name, value) -> Suite.copy(value, constants.values().get(name)));
      stepper.stepSlots(Suite.longs(call, "slots"));
    }
  }

  @Test
  void steppersStepSlots() {
    for (JsonObject part : cases()) {
      try (Case given = new Case(part)) {
        List<Buffers> buffers =
            given.states.stream().map(state -> Buffers.of(given, state)).toList();
        given.run(
            (state, call, what) -> {
              buffers.get(state).step(given, call);
              given.check(call, buffers.get(state).stepper().output(), what);
              buffers.get(state).emits().values().values().stream()
                  .forEach(emit -> assertNotEquals(0, emit.floats().get(0), what));
            });
        assertEquals(
            given.name.equals("conformer") ? 1 : 0, buffers.get(0).emits().values().size());
        Stepper stepper = buffers.get(1).stepper();
        for (long[] slots : new long[][] {{2}, {0, 0}, {-1}}) {
          SequenceLayersException refused =
              assertThrows(SequenceLayersException.class, () -> stepper.stepSlots(slots));
          assertEquals(Status.INVALID_ARGUMENT, refused.status());
        }
        assertThrows(IllegalArgumentException.class, () -> stepper.stepSlots(0, 1, 0));
      }
    }
  }

  @Test
  void savedItemsAreThoseOfStatesOfOneStream() {
    try (Layer layer = Vad.open();
        State pair = layer.newState(new StateOptions().batch(2));
        State single = layer.newState()) {
      float[] begin = Vad.run(single, 0, 3);
      pair.loadItem(1, single.save());
      ByteBuffer direct = ByteBuffer.allocateDirect(pair.saveItemSize());
      pair.saveItem(1, direct);
      assertEquals(ByteBuffer.wrap(single.save()), direct.flip());
      float[] rest = Vad.run(single, 3, 6);
      single.load(direct);
      assertArrayEquals(rest, Vad.run(single, 3, 6));
      single.load(pair.saveItem(0));
      assertArrayEquals(begin, Vad.run(single, 0, 3));
      assertThrows(SequenceLayersException.class, () -> pair.saveItem(2));
      assertThrows(SequenceLayersException.class, () -> pair.loadItem(0, new byte[7]));
    }
  }

  /** What a decoder of one stream chooses. */
  private record Tokens(
      DecoderOptions options, Sequence prompt, int[] tokens, float[] logProbs, byte[] mask) {
    static Tokens of(Layer layer, JsonObject stream) {
      JsonObject given = stream.getAsJsonObject("options");
      DecoderOptions options =
          new DecoderOptions()
              .startToken(given.get("start_token").getAsInt())
              .seed(given.get("seed").getAsLong())
              .temperature(given.get("temperature").getAsFloat())
              .topK(given.get("top_k").getAsLong())
              .topP(given.get("top_p").getAsFloat());
      if (given.has("stop_token")) {
        options.stopToken(given.get("stop_token").getAsInt());
        options.padToken(given.get("pad_token").getAsInt());
      }
      long[] numbers = Suite.longs(stream, "prompt");
      Sequence prompt = Sequence.allocate(DType.INT32, 1, numbers.length);
      for (int i = 0; i < numbers.length; ++i) {
        prompt.ints().put(i, (int) numbers[i]);
      }
      int count = Suite.longs(stream, "tokens").length;
      Tokens made = new Tokens(options, prompt, new int[count], new float[count], new byte[count]);
      try (Decoder decoder = layer.newDecoder(options)) {
        decoder.prefill(prompt);
        for (int i = 0; i < count; ++i) {
          decoder.sample();
          made.tokens[i] = decoder.tokens().get(0);
          made.logProbs[i] = decoder.logProbs().get(0);
          made.mask[i] = decoder.mask().get(0);
        }
      }
      return made;
    }

    void checkRecorded(JsonObject stream) {
      long[] recorded = Suite.longs(stream, "tokens");
      assertArrayEquals(Arrays.stream(recorded).mapToInt(Math::toIntExact).toArray(), tokens);
      int valid = stream.get("count").getAsInt();
      IntStream.range(0, mask.length).forEach(i -> assertEquals(i < valid ? 1 : 0, mask[i]));
    }
  }

  @Test
  void slotsOfDecodersHaveChoicesOfTheirOwn() {
    JsonObject part = Suite.part("decoder").getAsJsonObject("slots");
    try (Layer layer = Layer.open(Suite.model(Suite.part("decoder")))) {
      List<Tokens> streams = new ArrayList<>();
      for (JsonElement stream : part.getAsJsonArray("streams")) {
        streams.add(Tokens.of(layer, stream.getAsJsonObject()));
        streams.get(streams.size() - 1).checkRecorded(stream.getAsJsonObject());
      }
      Map<Long, Decoder> decoders = new HashMap<>();
      for (long batch : Suite.longs(part, "batches")) {
        decoders.put((long) decoders.size(), layer.newDecoder(new DecoderOptions().batch(batch)));
      }
      for (JsonElement element : part.getAsJsonArray("script")) {
        run(element.getAsJsonObject(), decoders, streams);
      }
      Decoder decoder = decoders.get(0L);
      decoder.startSlot(0);
      assertThrows(SequenceLayersException.class, () -> decoder.sampleSlots(3));
      decoders.values().forEach(Decoder::close);
    }
  }

  private static void run(JsonObject call, Map<Long, Decoder> decoders, List<Tokens> streams) {
    Decoder decoder = decoders.get(number(call, "state"));
    switch (call.get("call").getAsString()) {
      case "start" -> {
        Tokens stream = streams.get((int) number(call, "stream"));
        decoder.startSlot(number(call, "slot"), stream.options());
        decoder.prefillSlot(number(call, "slot"), stream.prompt());
      }
      case "sample" -> {
        decoder.sampleSlots(Suite.longs(call, "slots"));
        long[] of = Suite.longs(call, "streams");
        long[] steps = Suite.longs(call, "blocks");
        for (int i = 0; i < of.length; ++i) {
          Tokens stream = streams.get((int) of[i]);
          assertEquals(stream.tokens()[(int) steps[i]], decoder.tokens().get(i), call.toString());
          assertEquals(stream.logProbs()[(int) steps[i]], decoder.logProbs().get(i));
          assertEquals(stream.mask()[(int) steps[i]], decoder.mask().get(i));
        }
      }
      case "copy" ->
          decoder.copySlotFrom(
              number(call, "slot"),
              decoders.get(number(call, "from_state")),
              number(call, "from_slot"));
      case "load" -> {
        Decoder source = decoders.get(number(call, "from_state"));
        decoder.loadSlot(number(call, "slot"), source.saveSlot(number(call, "from_slot")));
      }
      default -> throw new AssertionError(call.toString());
    }
  }
}
