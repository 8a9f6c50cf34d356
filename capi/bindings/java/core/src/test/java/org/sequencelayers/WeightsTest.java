package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Tensors from files and from memory. */
class WeightsTest {
  private static final String MODEL = Suite.part("vad").get("model").getAsString();

  @Test
  void aFileAndItsImageHoldTheSame() {
    byte[] bytes = Suite.bytes(MODEL + "/model.safetensors");
    ByteBuffer image = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
    try (Weights file = Weights.open(Suite.path(MODEL + "/model.safetensors"));
        Weights read = Weights.read(image)) {
      assertEquals(file.names(), read.names());
      assertEquals(Optional.of("16000"), file.metadata("sample_rate"));
      assertEquals(Optional.empty(), file.metadata("no such key"));
      String name = "params.probability.kernel";
      assertTrue(file.names().contains(name), file.names().toString());
      Sequence kernel = file.find(name).orElseThrow();
      assertEquals(List.of(128L, 1L), List.of(kernel.dim(0), kernel.dim(1)));
      assertEquals(kernel.floats(), read.find(name).orElseThrow().floats());
      assertEquals(Optional.empty(), file.find("params.nothing"));
    }
  }

  @Test
  void cachesHaveOnlySomeFormats() {
    String config = "{\"type\": \"Identity\"}";
    Layer.create(config, null, new LayerOptions().kvFormat("int8")).close();
    LayerOptions refused = new LayerOptions().kvFormat("int4");
    assertThrows(SequenceLayersException.class, () -> Layer.create(config, null, refused));
  }

  @Test
  void aModelOfTensorsFromMemory() {
    try (Weights weights = Weights.create()) {
      Sequence kernel = Sequence.allocate(DType.FLOAT32, 2, 1).asArray();
      kernel.floats().put(0, 2).put(1, 3);
      Sequence bias = Sequence.allocate(DType.FLOAT32, 1).asArray();
      bias.floats().put(0, 10);
      weights.add("params.kernel", kernel);
      weights.add("params.bias", bias);
      String config = "{\"type\": \"Dense\", \"features\": 1, \"name\": \"dense\"}";
      try (Layer layer = Layer.create(config, weights, new LayerOptions())) {
        Sequence x = Sequence.allocate(DType.FLOAT32, 1, 1, 2);
        x.floats().put(0, 5).put(1, 7);
        assertEquals(41, layer.apply(x).floats().get(0));
      }
    }
  }
}
