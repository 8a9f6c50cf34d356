package org.sequencelayers;

/** An {@code sl_run_options}. */
final class RunOptions {
  private final Struct struct = Struct.sized(56);
  // They own the memory that the struct points to.
  private Object constants;
  private Object emits;

  RunOptions(Constants constants, Emits emits) {
    set(constants, emits);
  }

  /** With arrays of {@code sl_constant} and {@code sl_sequence}, or null. */
  RunOptions(Struct constants, long numConstants, Struct emits, long numEmits) {
    this.constants = constants;
    this.emits = emits;
    struct.putLong(8, constants == null ? 0 : constants.address()).putLong(16, numConstants);
    struct.putLong(24, emits == null ? 0 : emits.address()).putLong(32, numEmits);
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

  long address() {
    return address(0);
  }

  /**
   * The address, with a profile if it is not 0; null if it says nothing, which is cheaper to check
   * for the library.
   */
  long address(long profile) {
    if (constants == null && emits == null && profile == 0 && struct.getLong(40) == 0) {
      return 0;
    }
    return struct.putLong(48, profile).address();
  }
}
