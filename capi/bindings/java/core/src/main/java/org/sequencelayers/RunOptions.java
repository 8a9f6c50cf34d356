package org.sequencelayers;

/** An {@code sl_run_options}. */
final class RunOptions {
  private final Struct struct = Struct.sized(56);
  // They own the memory that the struct points to.
  private Constants constants;
  private Emits emits;

  RunOptions(Constants constants, Emits emits) {
    set(constants, emits);
  }

  RunOptions set(Constants constants, Emits emits) {
    this.constants = constants;
    this.emits = emits;
    struct.putLong(8, Constants.address(constants)).putLong(16, Constants.count(constants));
    struct.putLong(24, Emits.address(emits)).putLong(32, Emits.count(emits));
    return this;
  }

  /** Lets the run continue a stream. */
  RunOptions state(long state) {
    struct.putLong(40, state);
    return this;
  }

  /** The address; null if it says nothing, which is cheaper to check for the library. */
  long address() {
    return constants == null && emits == null && struct.getLong(40) == 0 ? 0 : struct.address();
  }
}
