package org.sequencelayers;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Room for the auxiliary outputs of a run, which layers emit beside the output: made once for an
 * input's shape by {@link Layer#newEmits} or {@link State#newEmits}, and written by each run that
 * gets it. Its memory is freed by the garbage collector.
 */
public final class Emits {
  private static final int PATH_BYTES = 4096;

  private final Map<String, Sequence> values = new LinkedHashMap<>();
  private final Struct array;
  private final int count;

  /** Room for those whose path is wanted. `options` name the constants, and perhaps a stream. */
  Emits(
      long layer,
      Mode mode,
      Sequence x,
      Constants constants,
      RunOptions options,
      Predicate<String> wanted) {
    Struct input = x.channelSpec().write();
    count =
        (int)
            Calls.count(
                error ->
                    Calls.ABI.layerEmitCount(
                        layer,
                        input.address(),
                        Constants.address(constants),
                        Constants.count(constants),
                        error),
                input,
                constants);
    List<Struct> shapes = new ArrayList<>();
    for (int i = 0; i < count; ++i) {
      shapes.add(shape(layer, mode, x, options, i, wanted));
    }
    array = new Struct(Sequence.SIZE * count);
    for (int i = 0; i < count; ++i) {
      array.put(Sequence.SIZE * i, shapes.get(i));
    }
  }

  private Struct shape(
      long layer, Mode mode, Sequence x, RunOptions options, long index, Predicate<String> wanted) {
    Struct path = new Struct(PATH_BYTES);
    Struct emit = Sequence.newStruct();
    Calls.check(
        error ->
            Calls.ABI.layerEmitShape(
                layer,
                mode.ordinal(),
                x.address(),
                options.address(),
                index,
                path.address(),
                path.size(),
                emit.address(),
                error),
        x,
        options,
        path,
        emit);
    if (!wanted.test(path.text(0))) {
      return emit; // without data
    }
    Sequence value = Sequence.allocate(emit);
    values.put(path.text(0), value);
    return value.struct();
  }

  /**
   * The outputs by path, such as {@code attention.probabilities}.
   *
   * @return an unmodifiable map, in the order of the model
   */
  public Map<String, Sequence> values() {
    return Collections.unmodifiableMap(values);
  }

  /**
   * One of the outputs.
   *
   * @param path its path
   * @return values and mask
   */
  public Sequence get(String path) {
    Sequence value = values.get(path);
    if (value == null) {
      throw new IllegalArgumentException("there is no emit " + path + " among " + values.keySet());
    }
    return value;
  }

  /** The array of {@code sl_sequence}. */
  Struct array() {
    return array;
  }

  /** The array of {@code sl_sequence}; 0 for null. */
  static long address(Emits emits) {
    return emits == null ? 0 : emits.array.address();
  }

  static long count(Emits emits) {
    return emits == null ? 0 : emits.count;
  }
}
