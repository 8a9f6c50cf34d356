package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** A conformer with all kinds of constants, and emits, as the JAX reference has them. */
class ConformerTest {
  private static final JsonObject PART = Suite.part("conformer");
  private static final int BLOCK = PART.get("block").getAsInt();
  private static final double TOLERANCE = PART.get("tolerance").getAsDouble();
  private static final Sequence X = Suite.sequence(PART, "input");
  private static final Sequence Y = Suite.sequence(PART, "expected");
  private static final int TIME = (int) X.dim(1);

  private static Layer layer;

  @BeforeAll
  static void open() {
    layer = Layer.open(Suite.model(PART));
  }

  @AfterAll
  static void close() {
    layer.close();
  }

  @Test
  void runsWholeWithConstantsAndEmits() {
    Constants constants = Suite.constants(PART, 0, TIME);
    Sequence y = layer.newOutput(Mode.LAYER, X, constants);
    Emits emits = layer.newEmits(Mode.LAYER, X, constants, path -> true);
    layer.apply(X, y, constants, emits);
    Compare.whole(Y, y, TOLERANCE, "y");
    assertEquals(PART.getAsJsonArray("emits").size(), emits.values().size());
    for (JsonElement element : PART.getAsJsonArray("emits")) {
      JsonObject emit = element.getAsJsonObject();
      String path = emit.get("path").getAsString();
      Compare.whole(Suite.sequence(emit), emits.get(path), TOLERANCE, path);
    }
  }

  @Test
  void stepsWithConstantsAndEmits() {
    Set<String> wanted =
        PART.getAsJsonArray("emits").asList().stream()
            .map(JsonElement::getAsJsonObject)
            .filter(emit -> emit.get("stepwise").getAsBoolean())
            .map(emit -> emit.get("path").getAsString())
            .collect(Collectors.toSet());
    assertEquals(2, wanted.size());
    StateOptions options =
        new StateOptions().batch(X.dim(0)).constants(Suite.constants(PART, 0, BLOCK));
    try (State state = layer.newState(options)) {
      Sequence first = Suite.steps(X, 0, BLOCK);
      Sequence y = layer.newOutput(Mode.STEP, first, options.constants());
      Emits emits = state.newEmits(first, wanted::contains);
      assertEquals(wanted, emits.values().keySet());
      for (int t = 0; t < TIME; t += BLOCK) {
        Sequence x = Suite.steps(X, t, t + BLOCK);
        state.step(x, y, Suite.constants(PART, t, t + BLOCK), emits);
        Compare.steps(Y, t / 2, y, TOLERANCE, "y");
        compareEmits(emits, wanted, t / 2);
      }
    }
  }

  private static void compareEmits(Emits emits, Set<String> wanted, int step) {
    for (JsonElement element : PART.getAsJsonArray("emits")) {
      JsonObject emit = element.getAsJsonObject();
      String path = emit.get("path").getAsString();
      if (wanted.contains(path)) {
        Compare.steps(Suite.sequence(emit), step, emits.get(path), TOLERANCE, path);
      }
    }
  }

  @Test
  void aStepperReadsConstantsInPlace() {
    Constants constants = Suite.constants(PART, 0, BLOCK);
    StateOptions options = new StateOptions().batch(X.dim(0)).constants(constants);
    try (State state = layer.newState(options)) {
      state.prepare(constants);
      Sequence x = Suite.steps(X, 0, BLOCK);
      Sequence y = layer.newOutput(Mode.STEP, x, constants);
      Stepper stepper = state.stepper(x, y, constants, null);
      for (int t = 0; t < TIME; t += BLOCK) {
        Suite.copy(Suite.steps(X, t, t + BLOCK), stepper.input());
        Suite.copy(
            Suite.constants(PART, t, t + BLOCK).values().get("control"),
            constants.values().get("control"));
        stepper.step();
        Compare.steps(Y, t / 2, stepper.output(), TOLERANCE, "y");
      }
    }
  }

  @Test
  void tellsItsConstants() {
    ConstantInfo.Kind any = ConstantInfo.Kind.ANY;
    Set<ConstantInfo> expected =
        Set.of(
            constant("control", any, "control", true, 3),
            constant("source", ConstantInfo.Kind.SEQUENCE, "cross_attention.attention", false, 6),
            constant("speaker", any, "speaker", false, 4));
    assertEquals(expected, Set.copyOf(layer.constants()));
  }

  private static ConstantInfo constant(
      String name, ConstantInfo.Kind kind, String path, boolean streamed, long channels) {
    return new ConstantInfo(
        name, kind, path, true, streamed, Optional.empty(), Optional.of(List.of(channels)));
  }
}
