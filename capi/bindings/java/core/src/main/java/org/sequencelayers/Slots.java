package org.sequencelayers;

/** Numbers of slots, as C reads them. */
final class Slots {
  private final Struct numbers;
  private final int batch;

  Slots(int batch) {
    numbers = new Struct(Math.multiplyExact(Long.BYTES, batch));
    this.batch = batch;
  }

  /** Takes the slots of a call. */
  void set(long[] slots) {
    if (slots.length > batch) {
      throw new IllegalArgumentException("there are fewer slots");
    }
    for (int i = 0; i < slots.length; ++i) {
      numbers.putLong(i * Long.BYTES, slots[i]);
    }
  }

  long address() {
    return numbers.address();
  }
}
