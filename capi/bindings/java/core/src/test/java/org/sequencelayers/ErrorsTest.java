package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Failing calls: code and message. */
class ErrorsTest {
  static Stream<Arguments> cases() {
    return StreamSupport.stream(Suite.errors().spliterator(), false)
        .map(JsonElement::getAsJsonObject)
        .map(error -> Arguments.of(error.get("name").getAsString(), error));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("cases")
  void failsWithCodeAndMessage(String name, JsonObject error) {
    SequenceLayersException failure =
        assertThrows(SequenceLayersException.class, () -> call(error));
    assertEquals(error.get("code").getAsInt(), failure.code());
    assertEquals(error.get("status").getAsString(), failure.status().name());
    String part = error.get("message").getAsString();
    assertTrue(failure.getMessage().contains(part), failure.getMessage());
  }

  private static void call(JsonObject error) {
    String call = error.get("call").getAsString();
    if (call.equals("open")) {
      Layer.open(Suite.model(error)).close();
      return;
    }
    try (Layer layer = Layer.open(Suite.model(error))) {
      switch (call) {
        case "state" -> state(layer, error).close();
        case "step" -> step(layer, error);
        case "load" -> {
          try (State state = state(layer, error)) {
            state.load(Suite.bytes(error.get("file").getAsString()));
          }
        }
        case "apply" -> layer.apply(zeros(error, error));
        case "decoder" ->
            layer
                .newDecoder(new DecoderOptions().startToken(error.get("start_token").getAsInt()))
                .close();
        default -> throw new IllegalArgumentException(call);
      }
    }
  }

  private static void step(Layer layer, JsonObject error) {
    JsonObject options = error.getAsJsonObject("options");
    Sequence x = zeros(error, options);
    // Large enough for each of them, whatever the library thinks of x.
    Sequence y = Sequence.allocate(DType.FLOAT32, x.dim(0), 1, 1);
    try (State state = state(layer, error)) {
      int before = error.has("steps_before") ? error.get("steps_before").getAsInt() : 0;
      for (int i = 0; i < before; ++i) {
        state.step(x, y);
      }
      state.step(x, y);
    }
  }

  private static State state(Layer layer, JsonObject error) {
    JsonObject options = error.getAsJsonObject("options");
    DType dtype = dtype(options);
    StateOptions made =
        new StateOptions()
            .batch(options.get("batch").getAsLong())
            .input(ChannelSpec.of(dtype, Suite.longs(options, "channel_shape")));
    if (options.has("max_length")) {
      made.maxLength(options.get("max_length").getAsLong());
    }
    return layer.newState(made);
  }

  private static Sequence zeros(JsonObject error, JsonObject withDtype) {
    return Sequence.allocate(dtype(withDtype), Suite.longs(error, "shape"));
  }

  private static DType dtype(JsonObject part) {
    return DType.valueOf(part.get("dtype").getAsString().toUpperCase(Locale.ROOT));
  }

  @Test
  void statusesHaveTheHeadersNumbers() {
    Map<String, Integer> numbers = Header.numbers("SL_STATUS_");
    assertEquals(Status.UNKNOWN.ordinal(), numbers.size());
    numbers.forEach((name, number) -> assertEquals(number, Status.valueOf(name).code(), name));
    assertEquals(Status.UNKNOWN, Status.of(numbers.size()));
    assertEquals("config", SequenceLayers.statusName(Status.CONFIG.code()));
  }
}
