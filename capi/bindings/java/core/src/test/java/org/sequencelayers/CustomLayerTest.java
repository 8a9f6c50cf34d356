package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** A layer written in Java, inside combinators. */
class CustomLayerTest {
  private static final JsonObject PART = Suite.part("custom");
  private static final Sequence X = Suite.sequence(PART, "input");
  private static final Sequence Y = Suite.sequence(PART, "expected");

  private static Registry registry() {
    return new Registry().add(PART.get("type").getAsString(), TestGain::new);
  }

  private static Layer open(JsonObject part) {
    try (Registry registry = registry()) {
      return Layer.open(Suite.model(part), new LayerOptions().registry(registry));
    }
  }

  @Test
  void runsWhole() {
    try (Layer layer = open(PART)) {
      Compare.whole(Y, layer.apply(X), 0, "y");
      assertEquals(-Long.MAX_VALUE, layer.receptiveField().orElseThrow().start());
    }
  }

  @Test
  void steps() {
    ChannelSpec input = ChannelSpec.of(DType.FLOAT32, Suite.longs(PART, "channel_shape"));
    try (Layer layer = open(PART)) {
      for (JsonElement element : PART.getAsJsonArray("steps")) {
        int steps = element.getAsInt();
        StateOptions options = new StateOptions().batch(X.dim(0)).maxSteps(steps).input(input);
        try (State state = layer.newState(options)) {
          for (int t = 0; t < X.dim(1); t += steps) {
            Sequence x = Suite.steps(X, t, t + steps);
            Sequence y = layer.newOutput(Mode.STEP, x, null);
            state.step(x, y);
            Compare.steps(Y, t, y, 0, "y");
          }
        }
      }
    }
  }

  @Test
  void itsExceptionFailsTheCall() {
    JsonObject error = PART.getAsJsonObject("error");
    SequenceLayersException failure =
        assertThrows(SequenceLayersException.class, () -> open(error).close());
    assertEquals(error.get("code").getAsInt(), failure.code());
    String message = error.get("message").getAsString();
    assertTrue(failure.getMessage().contains(message), failure.getMessage());
    assertInstanceOf(IllegalArgumentException.class, failure.getCause());
  }

  @Test
  void readsItsWeightsAndIsClosedWithItsLayer() {
    AtomicInteger closed = new AtomicInteger();
    try (Registry registry = new Registry();
        Weights weights = Weights.create()) {
      Sequence offset = Sequence.allocate(DType.FLOAT32, 1);
      offset.floats().put(0, 3);
      weights.add("params.value", offset.asArray());
      registry.add("Offset", (config, source) -> new Offset(source.find("value"), closed));
      assertTrue(registry.types().contains("Offset"));
      String config = "{\"type\": \"Offset\", \"name\": \"offset\"}";
      Layer layer = Layer.create(config, weights, new LayerOptions().registry(registry));
      Sequence x = Sequence.allocate(DType.FLOAT32, 1, 2);
      Sequence y = layer.apply(x);
      assertEquals(3, y.floats().get(1));
      assertEquals(0, closed.get());
      layer.close();
      assertEquals(1, closed.get());
      SequenceLayersException failure =
          assertThrows(
              SequenceLayersException.class,
              () -> Layer.create(config, null, new LayerOptions().registry(registry)));
      assertInstanceOf(SequenceLayersException.class, failure.getCause());
    }
  }

  private record Offset(float value, AtomicInteger closed) implements CustomLayer {
    Offset(Sequence value, AtomicInteger closed) {
      this(value.floats().get(0), closed);
    }

    @Override
    public void layer(Sequence x, Sequence y) {
      for (int i = 0; i < x.floats().capacity(); ++i) {
        y.floats().put(i, x.floats().get(i) + value);
      }
    }

    @Override
    public void close() {
      closed.incrementAndGet();
    }
  }
}
