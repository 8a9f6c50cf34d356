package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What runs cost, what the library says, and packed weights. */
class ProfileTest {
  private static JsonArray layers(Profile profile) {
    return JsonParser.parseString(profile.describe()).getAsJsonObject().getAsJsonArray("layers");
  }

  @Test
  void runsAreRecorded() {
    String config = "{\"type\": \"Serial\", \"layers\": [{\"type\": \"Delay\", \"length\": 2}]}";
    Profile profile = new Profile();
    try (Layer layer = Layer.create(config, null, new LayerOptions());
        State state = layer.newState(new StateOptions().input(ChannelSpec.of(DType.FLOAT32)))) {
      Stepper stepper = state.stepper(1);
      Sequence x = stepper.input();
      layer.apply(x, layer.newOutput(Mode.LAYER, x, null), null, null, profile);
      stepper.step(); // not recorded
      state.record(profile);
      stepper.step();
      stepper.stepSlots(0);
      state.stepSlots(new long[] {0}, x, stepper.output());
      JsonObject delay = layers(profile).get(1).getAsJsonObject();
      assertEquals("Delay", delay.get("type").getAsString());
      assertEquals(4, delay.get("calls").getAsInt());
      profile.reset();
      assertEquals(0, layers(profile).size());
      profile.close();
      assertThrows(IllegalStateException.class, stepper::step);
      state.record(null);
      stepper.step();
    }
  }

  @Test
  void decodersAreRecorded() {
    JsonObject part = Suite.part("decoder");
    DecoderOptions options =
        new DecoderOptions().startToken(part.get("start_token").getAsInt()).batch(2);
    try (Layer layer = Layer.open(Suite.model(part));
        Profile profile = new Profile();
        Decoder decoder = layer.newDecoder(options)) {
      decoder.record(profile);
      Sequence prompt = Sequence.allocate(DType.INT32, 1, 1);
      decoder.prefillSlot(1, prompt);
      decoder.sample();
      decoder.sampleSlots(1);
      assertTrue(layers(profile).get(0).getAsJsonObject().get("calls").getAsInt() >= 3);
    }
  }

  @Test
  void messagesGoToACallback() {
    List<String> messages = new ArrayList<>();
    List<LogLevel> levels = new ArrayList<>();
    SequenceLayers.setLog(
        LogLevel.INFO,
        (level, message) -> {
          levels.add(level);
          messages.add(message);
        });
    Layer.create("{\"type\": \"Abs\"}", null, new LayerOptions()).close();
    SequenceLayers.setLog(LogLevel.WARNING, null);
    Layer.create("{\"type\": \"Abs\"}", null, new LayerOptions()).close();
    assertEquals(List.of(LogLevel.INFO), levels);
    assertTrue(messages.get(0).contains("made a Abs with 0 parameters"), messages.get(0));
    Map<String, Integer> numbers = Header.numbers("SL_LOG_");
    assertEquals(LogLevel.values().length + 1, numbers.size());
    for (LogLevel level : LogLevel.values()) {
      assertEquals(numbers.get(level.name()), level.code());
    }
  }

  @Test
  void packedWeightsAreWrittenAndRead() throws Exception {
    LayerOptions options =
        new LayerOptions()
            .weightFormat("bfloat16")
            .numStepThreads(1)
            .matmulBackend(LayerOptions.MatmulBackend.OWN);
    Path packed = Files.createTempFile("packed", ".safetensors");
    try (Layer layer = Layer.open(Suite.model(Vad.PART), options)) {
      layer.saveWeights(packed);
    }
    String config = Files.readString(Suite.model(Vad.PART).resolve("config.json"));
    try (Weights weights = Weights.open(packed);
        Layer layer = Layer.create(config, weights, new LayerOptions());
        State state = layer.newState()) {
      assertEquals(Vad.EXPECTED[0], Vad.run(state, 0, 1)[0], 0.02);
    } finally {
      Files.delete(packed);
    }
  }
}
