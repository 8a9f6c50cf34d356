package org.sequencelayers;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Named inputs that a model reads beside its input: the source of a cross-attention, a
 * conditioning, positions. They are read in place in every call, so that their buffers may get
 * other values between calls. Their memory is freed by the garbage collector.
 */
public final class Constants {
  static final int SIZE = 8 + Sequence.SIZE;

  private final SortedMap<String, Sequence> values;
  private final List<Struct> names = new ArrayList<>();
  private final Struct array;

  private Constants(Map<String, Sequence> values) {
    // States want the constants of each step in the order of those that they were made with.
    this.values = Collections.unmodifiableSortedMap(new TreeMap<>(values));
    array = new Struct(Math.multiplyExact(SIZE, values.size()));
    int offset = 0;
    for (Map.Entry<String, Sequence> entry : this.values.entrySet()) {
      Struct name = Struct.string(entry.getKey());
      names.add(name);
      array.putLong(offset, name.address()).put(offset + 8, entry.getValue().struct());
      offset += SIZE;
    }
  }

  /**
   * Makes a set of constants.
   *
   * @param values sequences by name; those without time are arrays ({@link Sequence#asArray})
   * @return the constants
   */
  public static Constants of(Map<String, Sequence> values) {
    return new Constants(values);
  }

  /**
   * The constants by name.
   *
   * @return an unmodifiable map
   */
  public Map<String, Sequence> values() {
    return values;
  }

  /** The array of {@code sl_constant}. */
  Struct array() {
    return array;
  }

  /** The array of {@code sl_constant}; 0 for null. */
  static long address(Constants constants) {
    return constants == null ? 0 : constants.array.address();
  }

  static long count(Constants constants) {
    return constants == null ? 0 : constants.names.size();
  }
}
