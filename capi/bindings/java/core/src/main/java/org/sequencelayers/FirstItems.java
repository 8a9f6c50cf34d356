package org.sequencelayers;

import java.util.ArrayList;
import java.util.List;

/** Copies of the views that a stepper has of a whole batch, for calls on its first items. */
final class FirstItems {
  private static final int RANK = 8;
  private static final int DIMS = 16;

  private final int batch;
  private final Struct x;
  private final Struct y;
  private final RunOptions options;
  // Where the batch is in the views: for each, the struct and the offset.
  private final List<Struct> structs = new ArrayList<>();
  private final List<Integer> offsets = new ArrayList<>();

  FirstItems(int batch, Sequence x, Sequence y, Constants constants, Emits emits) {
    this.batch = batch;
    this.x = copy(x.struct(), Sequence.SIZE, 0);
    this.y = copy(y.struct(), Sequence.SIZE, 0);
    options =
        new RunOptions(
            constants == null ? null : copy(constants.array(), Constants.SIZE, Long.BYTES),
            Constants.count(constants),
            emits == null ? null : copy(emits.array(), Sequence.SIZE, 0),
            Emits.count(emits));
  }

  /** A copy of an array of structs of that size, which hold a view at an offset. */
  private Struct copy(Struct views, int size, int offset) {
    Struct copy = new Struct(views.size()).put(0, views);
    for (int view = offset; view < copy.size(); view += size) {
      if (copy.getInt(view + RANK) > 0 && copy.getLong(view + DIMS) == batch) {
        structs.add(copy);
        offsets.add(view + DIMS);
      }
    }
    return copy;
  }

  void set(long count) {
    for (int i = 0; i < structs.size(); ++i) {
      structs.get(i).putLong(offsets.get(i), count);
    }
  }

  long x() {
    return x.address();
  }

  long y() {
    return y.address();
  }

  RunOptions options() {
    return options;
  }
}
