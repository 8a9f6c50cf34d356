package org.sequencelayers;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.StreamSupport;

/** The data that all bindings' tests run on: packaging/bindings/README.md. */
final class Suite {
  private static final Path DIRECTORY = Path.of(System.getProperty("sequencelayers.suite"));
  private static final JsonObject MANIFEST =
      JsonParser.parseString(new String(bytes("suite.json"), StandardCharsets.UTF_8))
          .getAsJsonObject();

  private Suite() {}

  static JsonObject part(String name) {
    return MANIFEST.getAsJsonObject(name);
  }

  static Iterable<JsonElement> errors() {
    return list("errors");
  }

  static Iterable<JsonElement> list(String name) {
    return MANIFEST.getAsJsonArray(name);
  }

  static Path path(String name) {
    return DIRECTORY.resolve(name);
  }

  static Path model(JsonObject part) {
    return path(part.get("model").getAsString());
  }

  static byte[] bytes(String file) {
    try {
      return Files.readAllBytes(path(file));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** The tensor `part[name]`, as a sequence without a mask, whatever its rank. */
  static Sequence tensor(JsonObject part, String name) {
    JsonObject tensor = part.getAsJsonObject(name);
    byte[] bytes = bytes(tensor.get("file").getAsString());
    ByteBuffer buffer = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
    DType dtype = DType.valueOf(tensor.get("dtype").getAsString().toUpperCase(Locale.ROOT));
    return Sequence.of(dtype, buffer.order(ByteOrder.LITTLE_ENDIAN), longs(tensor, "shape"));
  }

  static Sequence sequence(JsonObject part) {
    return tensor(part, "values").withMask(tensor(part, "mask").bytes());
  }

  static Sequence sequence(JsonObject part, String name) {
    return sequence(part.getAsJsonObject(name));
  }

  static float[] floats(JsonObject part, String name) {
    FloatBuffer buffer = tensor(part, name).floats();
    float[] values = new float[buffer.remaining()];
    buffer.get(values);
    return values;
  }

  static int[] ints(JsonObject part, String name) {
    IntBuffer buffer = tensor(part, name).ints();
    int[] values = new int[buffer.remaining()];
    buffer.get(values);
    return values;
  }

  static long[] longs(JsonObject part, String name) {
    return StreamSupport.stream(part.getAsJsonArray(name).spliterator(), false)
        .mapToLong(JsonElement::getAsLong)
        .toArray();
  }

  /** The whole value of a constant. */
  static Sequence constant(JsonObject constant) {
    return constant.get("kind").getAsString().equals("array")
        ? tensor(constant, "values").asArray()
        : sequence(constant);
  }

  /** The constants of a part, of streamed ones the steps [start, end) alone. */
  static Constants constants(JsonObject part, int start, int end) {
    Map<String, Sequence> values = new TreeMap<>();
    for (JsonElement element : part.getAsJsonArray("constants")) {
      JsonObject constant = element.getAsJsonObject();
      Sequence value = constant(constant);
      boolean streamed = constant.get("streamed").getAsBoolean();
      values.put(constant.get("name").getAsString(), streamed ? steps(value, start, end) : value);
    }
    return Constants.of(values);
  }

  /** Copies float32 values, and the mask if there is one, to the start of another sequence. */
  static void copy(Sequence from, Sequence to) {
    to.floats().put(0, from.floats(), 0, from.floats().capacity());
    if (from.mask() != null) {
      to.mask().put(0, from.mask(), 0, from.mask().capacity());
    }
  }

  /** A copy of the steps [start, end) of a float32 sequence with a mask. */
  static Sequence steps(Sequence whole, int start, int end) {
    int batch = (int) whole.dim(0);
    int time = (int) whole.dim(1);
    int channels = whole.floats().capacity() / (batch * time);
    long[] dims = whole.dims();
    dims[1] = end - start;
    Sequence part = Sequence.allocate(DType.FLOAT32, dims).withMask();
    for (int item = 0; item < batch; ++item) {
      int from = item * time + start;
      int to = item * (end - start);
      part.floats().put(to * channels, whole.floats(), from * channels, (end - start) * channels);
      part.mask().put(to, whole.mask(), from, end - start);
    }
    return part;
  }
}
