package org.sequencelayers;

import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * Content of one timestep: without batch and time.
 *
 * @param dtype type of the elements
 * @param shape channel shape; empty for one scalar a timestep
 */
public record ChannelSpec(DType dtype, List<Long> shape) {
  static final int SIZE = 80;
  private static final int MAX_RANK = 8;

  /**
   * Copies the shape.
   *
   * @param dtype type of the elements
   * @param shape channel shape
   */
  public ChannelSpec {
    shape = List.copyOf(shape);
    if (shape.size() > MAX_RANK) {
      throw new IllegalArgumentException("a timestep has at most " + MAX_RANK + " dimensions");
    }
  }

  /**
   * Makes a spec.
   *
   * @param dtype type of the elements
   * @param shape channel shape; none for one scalar a timestep
   * @return the spec
   */
  public static ChannelSpec of(DType dtype, long... shape) {
    return new ChannelSpec(dtype, LongStream.of(shape).boxed().toList());
  }

  static ChannelSpec read(Struct struct) {
    long[] dims =
        IntStream.range(0, struct.getInt(8)).mapToLong(i -> struct.getLong(16 + 8 * i)).toArray();
    return of(DType.of(struct.getInt(4)), dims);
  }

  Struct write() {
    Struct struct = Struct.sized(SIZE);
    struct.putInt(4, dtype.ordinal()).putInt(8, shape.size());
    for (int i = 0; i < shape.size(); ++i) {
      struct.putLong(16 + 8 * i, shape.get(i));
    }
    return struct;
  }
}
