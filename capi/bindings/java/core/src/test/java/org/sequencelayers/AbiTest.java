package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.sun.jna.Memory;
import com.sun.jna.NativeLibrary;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The structs that the binding fills have the sizes that the library's own have. */
class AbiTest {
  @Test
  void structsHaveTheLibrarysSizes() {
    Map<String, Integer> sizes =
        Map.ofEntries(
            Map.entry("error", Calls.newError().size()),
            Map.entry("sequence", Sequence.newStruct().size()),
            Map.entry("channel_spec", ChannelSpec.of(DType.FLOAT32).write().size()),
            Map.entry("layer_options", new LayerOptions().write(0).size()),
            Map.entry("decoder_options", new DecoderOptions().write().size()),
            Map.entry("pipe_options", new PipeOptions().write().size()),
            Map.entry("layer_properties", 72),
            Map.entry("layer_callbacks", CustomLayers.callbacks(TestGain::new).size()),
            Map.entry("constant_info", 104),
            Map.entry("step_difference", 40),
            Map.entry("run_options", 56));
    NativeLibrary library = NativeLibrary.getInstance(JnaPlatform.libraryName());
    sizes.forEach(
        (name, size) -> {
          Memory memory = new Memory(2048);
          library.getFunction("sl_" + name + "_init").invokeVoid(new Object[] {memory});
          assertEquals(memory.getInt(0), size, name);
        });
  }

  @Test
  void dtypesHaveTheLibrarysNumbersAndSizes() {
    NativeLibrary library = NativeLibrary.getInstance(JnaPlatform.libraryName());
    Map<String, Integer> numbers = Header.numbers("SL_DTYPE_");
    assertEquals(DType.values().length, numbers.size());
    numbers.forEach((name, number) -> assertEquals(number, DType.valueOf(name).ordinal(), name));
    for (DType dtype : DType.values()) {
      Object[] number = {dtype.ordinal()};
      assertEquals(
          dtype.configName(), library.getFunction("sl_dtype_name").invokeString(number, false));
      assertEquals(dtype.size(), library.getFunction("sl_dtype_size").invokeLong(number));
    }
  }

  @Test
  void tellsTheVersion() {
    assertEquals(1, Integer.parseInt(SequenceLayers.version().split("\\.")[0]));
  }
}
